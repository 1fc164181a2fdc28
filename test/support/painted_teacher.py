"""A teacher of the painted data set that knows where its things stand, and is sure of some classes only: it reads no
annotation."""

from dataclasses import dataclass, field

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply, invert
from kd_training.data.frames import TrainingFrame
from kd_training.data.targets import detection_targets
from kd_training.evaluation.teacher import TeacherDetector
from support.fake_student import HEIGHT, SIZE, YAW
from support.nuscenes_tables import SCENES, THINGS, scene_start

SCORES = {"car": 0.9, "bus": 0.6, "truck": 0.3, "barrier": 0.9}


def things_in_ego(frame: TrainingFrame) -> Boxes:
    """Where the things of the frame's scene stand."""
    start = scene_start(SCENES.index(frame.frame.scene))
    count = len(THINGS)
    boxes = Boxes(
        center=apply(start, np.array([[*thing.xy, HEIGHT] for thing in THINGS])),
        size=np.tile(SIZE, (count, 1)),
        yaw=np.full(count, YAW),
        velocity=np.zeros((count, 2)),
        label=np.array([CLASSES.index(thing.class_name) for thing in THINGS]),
        score=np.array([SCORES[thing.class_name] for thing in THINGS]),
    )
    return boxes.transformed(invert(frame.frame.global_from_ego))


@dataclass
class PaintedTeacher:
    """Takes the place of TeacherDetector.outputs; `asked` are the samples it saw. `scores` multiplies its heatmap."""

    scores: float = 1.0
    stop_at: int = 1000  # keyframes, then comes Ctrl-C
    asked: list[str] = field(default_factory=list)

    def outputs(self, detector: TeacherDetector, frame: TrainingFrame) -> tuple[np.ndarray, np.ndarray]:
        """Heatmap and regression of a keyframe, as TeacherDetector's."""
        if len(self.asked) >= self.stop_at:
            raise KeyboardInterrupt
        self.asked.append(frame.frame.sample_token)
        grid: BevGrid = detector.model.grid
        targets = detection_targets(things_in_ego(frame), grid, detector.model.coding)
        heatmap = targets.heatmap.copy()
        for name, score in SCORES.items():
            heatmap[CLASSES.index(name)] *= score * self.scores
        codes = np.nan_to_num(targets.codes)
        regression = np.zeros((len(targets.boxes.classes.groups), codes.shape[1], *grid.shape), np.float32)
        regression[targets.group, :, targets.row, targets.column] = codes
        return heatmap, regression
