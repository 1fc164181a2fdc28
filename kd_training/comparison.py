"""Pictures at the end of a run: teacher, student and truth of some validation frames side by side."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from nuscenes import NuScenes

from kd_perception.atomic import write_bytes
from kd_perception.boxes import Boxes
from kd_perception.drawing import camera_grid, caption, draw_bev, encode_image
from kd_perception.evaluation.pictures import DRAWN_SCORE, draw_sample, points_in_ego, spread
from kd_perception.evaluation.results import boxes_of_result, read_results
from kd_perception.nuscenes import truth_boxes
from kd_training.checkpoint import WEIGHTS_FILE, checkpoint_config
from kd_training.data.frames import TrainingFrame, open_dataset
from kd_training.evaluate import RESULTS_FILE
from kd_training.experiment import TrainConfig
from kd_training.run import load_teacher, metrics_folder
from kd_training.teachers.evaluate import TeacherDetector

PICTURES_FOLDER = "pictures"
FRAMES = 4
TRUTH = "truth"


def write_comparisons(out: Path) -> Path | None:
    """Draw some frames of a finished run's first validation set into `out`/pictures, from the results that its metrics
    were made of; the folder, None where there is no validation set."""
    config = checkpoint_config(out / WEIGHTS_FILE)
    if not config.data.validation:
        return None
    dataset = open_dataset(config.data.validation[0])
    results = read_results(metrics_folder(out, 0) / RESULTS_FILE)
    is_student = isinstance(config, TrainConfig)
    teacher = None
    if is_student and config.distill.teacher:
        teacher = TeacherDetector(load_teacher(Path(config.distill.teacher)))
    frame_of = {frame.frame.sample_token: frame for frame in dataset.frames}
    folder = out / PICTURES_FOLDER
    for number, token in enumerate(spread(list(results), FRAMES)):
        frame = frame_of[token]
        boxes = boxes_of_result(results[token], frame.frame.global_from_ego)
        answers = {} if teacher is None else {"teacher": teacher.detect(frame)}
        answers["student" if is_student else "teacher"] = boxes
        picture = draw_comparison(dataset.nusc, frame, boxes, answers)
        write_bytes(folder / f"{number:02d}_{frame.frame.scene}.jpg", encode_image(picture))
    return folder


def draw_comparison(
    nusc: NuScenes, frame: TrainingFrame, in_cameras: Boxes, answers: Mapping[str, Boxes]
) -> np.ndarray:
    """One picture (h, w, 3): the cameras with some boxes over truth; below them a bird's-eye view of each of `answers`
    by its name, and of the truth. Boxes in ego."""
    cameras = camera_grid(draw_sample(nusc, frame.frame.sample_token, in_cameras).cameras)
    truth, points = truth_boxes(nusc, frame.frame.sample_token, frame.frame.global_from_ego)
    truth = truth[points > 0]
    cloud = points_in_ego(nusc, frame.frame.sample_token, frame.frame.global_from_ego)
    size = cameras.shape[1] // 3
    panels = []
    for name, boxes in {**answers, TRUTH: truth}.items():
        panel = draw_bev(boxes[boxes.score >= DRAWN_SCORE], None if name == TRUTH else truth, cloud, size=size)
        caption(panel, name)
        panels.append(panel)
    row = np.hstack(panels)
    rest = cameras.shape[1] - row.shape[1]
    return np.vstack([cameras, np.pad(row, ((0, 0), (0, rest), (0, 0)), constant_values=0)])
