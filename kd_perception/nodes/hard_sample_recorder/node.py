"""The recorder: keeps the frames that student and teacher dispute, as a rosbag2 within a budget of bytes.

This file is its lifecycle. Callbacks only hold serialised messages (`intake`); a thread of its own compares both sides'
answers (`judging`), gathers a frame's messages (`gathering`) and writes them (`writing`).
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from kd_perception.continual.held_messages import HeldMessages
from kd_perception.errors import ConfigError
from kd_perception.nodes.common.executors import executor_of_many_messages
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.node import run
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.nodes.hard_sample_recorder.gathering import FrameMessages
from kd_perception.nodes.hard_sample_recorder.inputs import RecorderTopics
from kd_perception.nodes.hard_sample_recorder.intake import RecorderIntake
from kd_perception.nodes.hard_sample_recorder.judging import FrameJudge, KnownClasses, Surroundings3D
from kd_perception.nodes.hard_sample_recorder.writing import MB, RecordingWorker
from kd_perception.options.recorder import RecorderOptions
from kd_perception.ros.rectified import rectified_cameras
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.tf import open_transforms
from kd_perception.runtime.ignore_mask import load_ignore_masks
from kd_perception.student.classes import chosen_classes
from kd_perception.teacher.classes import classes_of_teacher

MARGIN_S = 1.0  # held longer than what is needed: answers wait for what belongs to them


class HardSampleRecorder(ManagedNode[RecorderOptions]):
    """Lifecycle: configure reads the class lists, activate listens and writes, deactivate lets the folder go."""

    def __init__(self) -> None:
        super().__init__("hard_sample_recorder", RecorderOptions())

    def configure(self, ending: ExitStack) -> None:
        """Read what both sides know; the folder is opened with the first frame, and its faults never stop the node."""
        p = self.settings
        self._topics = RecorderTopics.of(p, self.resolve_topic_name)
        self._rectified = rectified_cameras(p.rectified, [camera.image for camera in self._topics.cameras])
        self._ignored = load_ignore_masks(p.ignore_mask, p.camera_names)
        student = chosen_classes(p.classes)
        teacher = student if p.teacher_classes is None else classes_of_teacher(p.teacher_classes)
        self._classes = KnownClasses(student, frozenset(teacher.names))
        if not self._classes.common:
            raise ConfigError(
                f"student ({', '.join(student.names)}) and teacher ({', '.join(teacher.names)}) have no class in "
                "common, so nothing can be compared; set classes and teacher_classes to their files"
            )
        self._health = Health(self)
        ending.callback(self._health.close)

    def activate(self, ending: ExitStack) -> None:
        """Start listening."""
        p = self.settings
        ending.enter_context(self._health.active())
        history_s = p.teacher_max_age_s + max(p.cloud_window_s, p.memory_interval_s) + MARGIN_S
        held = HeldMessages(history_s, p.held_mb * MB)
        transforms = open_transforms(self, partial(self._health.problem, "refused_transforms"), 2.0 * history_s)
        ending.callback(transforms.close)
        rig = RigSource(
            p.camera_names,
            p.base_frame,
            transforms,
            rectified=self._rectified,
            ignored=self._ignored,
            topics=[camera.camera_info for camera in self._topics.cameras],
        )
        places = Surroundings3D(rig, transforms, PoseSource(transforms, p.odometry_frame, p.base_frame))
        messages = FrameMessages(held, self._topics, p, lambda: intake.static.values())
        judge = FrameJudge(held, self._topics, messages, self._classes, places)
        worker = RecordingWorker(self, judge, self._health, len(self._classes.common))
        ending.callback(worker.close)
        forget = places.poses.forget_after
        intake = RecorderIntake(self, self._topics, held, self._health, worker.submit, forget_after=forget)
        intake.listen(ending)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(HardSampleRecorder, arguments, executor_of_many_messages))


if __name__ == "__main__":
    main()
