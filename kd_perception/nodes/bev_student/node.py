"""The detector node: images, calibration, tf, odometry in; boxes in base_link at the anchor's exposure out (REP-103).

This file is its lifecycle. Callbacks only sort messages (`intake`); three threads decode, infer and publish, on the
newest frame, while somebody listens (`stages`).
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from kd_perception.engines.protocol import ignore
from kd_perception.errors import DataError
from kd_perception.nodes.bev_student.camera_watch import CameraWatch
from kd_perception.nodes.bev_student.detection import Frame, FrameDetector
from kd_perception.nodes.bev_student.governing import Governing, open_lighter
from kd_perception.nodes.bev_student.intake import Intake, Receivers, Reports
from kd_perception.nodes.bev_student.student_swaps import StudentSwaps
from kd_perception.nodes.bev_student.swap_services import SwapServices
from kd_perception.nodes.common.health import DelayMonitor, Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.node import run, wait_for_subscribers
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.nodes.common.output_formats import chosen_formats
from kd_perception.nodes.common.outputs import Outputs
from kd_perception.nodes.common.reporting import FrameReporter
from kd_perception.nodes.common.stages import OverlappedStages
from kd_perception.options.detector import DetectorOptions
from kd_perception.ros.camera_topics import camera_topics
from kd_perception.ros.rectified import rectified_cameras
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.tf import open_transforms
from kd_perception.runtime.camera_motion import CameraMotion
from kd_perception.runtime.governor import Governor, work_levels
from kd_perception.runtime.ignore_mask import load_ignore_masks
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.runtime.pipeline_exchange import PipelineExchange
from kd_perception.runtime.snapshot import SnapshotFolder
from kd_perception.student.spec import Student, load_student


class BevStudent(ManagedNode[DetectorOptions]):
    """Lifecycle: configure loads the student, activate listens, deactivate stops that, cleanup frees the student.

    While configured it takes another student (`swap_services`); the running one answers until the other is ready.
    """

    def __init__(self) -> None:
        super().__init__("bev_student", DetectorOptions())

    def configure(self, ending: ExitStack) -> None:
        """Load the student and open the engine."""
        p = self.settings
        self._topics = camera_topics(p, self.resolve_topic_name)
        self._rectified = rectified_cameras(p.rectified, [camera.image for camera in self._topics])
        self._ignored = load_ignore_masks(p.ignore_mask, p.camera_names)
        formats = chosen_formats(p.output_messages)
        self._watch = SnapshotFolder(p.stage_folder).keep if p.stage_folder else None
        student = load_student(p.student_file)
        pipeline = self._open_pipeline(student)
        ending.callback(pipeline.close)
        lighter = open_lighter(p.lighter_students, student.spec, len(p.camera_names), self._open_pipeline)
        for stand_in in lighter:
            ending.callback(stand_in.close)
        if p.build_only:
            self._end_after_build(pipeline.engine.not_kept)
        health = Health(self, _delay_monitor(p))
        ending.callback(health.close)
        outputs = Outputs(self, formats, frame_id=p.base_frame, camera_names=p.camera_names, model=student.model_id)
        ending.callback(outputs.close)
        self._swap_services = SwapServices(self, health, outputs)
        self._students = students = PipelineExchange(pipeline, self._swap_services.failed, lighter)
        ending.callback(students.close)
        swaps = StudentSwaps(students, len(p.camera_names), self._open_pipeline, self._swap_services.tell)
        self._swap_services.open(students, swaps, ending)
        log_error = self.get_logger().error
        reporter = FrameReporter(p.camera_names, outputs, health, lambda: students.failures, log_error)
        self._reports = Reports(health, outputs, reporter)

    def activate(self, ending: ExitStack) -> None:
        """Start listening, once the expected subscribers are there."""
        p, outputs = self.settings, self._reports.outputs
        problem = wait_for_subscribers(
            self, p.wait_for_subscribers, outputs.named, p.subscriber_timeout_s, lambda: False
        )
        if problem:
            raise DataError(problem)
        ending.enter_context(self._reports.health.active())
        outputs.restart()
        self._students.restart("the node was activated")
        transforms = open_transforms(self, partial(self._reports.health.problem, "refused_transforms"))
        ending.callback(transforms.close)
        rig_source = RigSource(
            p.camera_names,
            p.base_frame,
            transforms,
            rectified=self._rectified,
            ignored=self._ignored,
            topics=[camera.camera_info for camera in self._topics],
        )
        poses = PoseSource(transforms, p.odometry_frame, p.base_frame)
        watch = CameraWatch(p.camera_names)
        motion = CameraMotion(poses.lookup) if p.camera_motion else None
        deadline_s = p.sync_deadline_ms / 1e3
        detector = FrameDetector(self._students, rig_source, poses, watch, deadline_s=deadline_s, camera_motion=motion)
        governing = self._governing()
        stages = OverlappedStages(detector.prepare, detector.infer, partial(self._report, governing))
        ending.callback(self._finish, detector, stages)
        receivers = Receivers(rig_source, poses, watch, stages)
        if governing is not None:
            receivers = replace(receivers, left_out=governing.left_out)
        Intake(self, self._topics, receivers, self._reports).listen(ending)

    def follow(self, settings: DetectorOptions) -> None:
        """See ManagedNode."""
        if settings.model != self.settings.model:
            self._swap_services.ask(settings)
        super().follow(settings)
        self._students.set_score_threshold(settings.score_threshold)
        self._reports.health.watch_delay(_delay_monitor(settings))

    def _open_pipeline(self, student: Student, go_on: Callable[[str], None] = ignore) -> Pipeline:
        """`go_on` hears of the progress first, and may end it by raising."""
        p, log = self.settings, self.get_logger().info

        def report(sentence: str) -> None:
            go_on(sentence)
            log(sentence)

        options = PipelineOptions(
            threads=p.threads,
            cache_folder=p.engine_cache,
            report=report,
            score_threshold=p.score_threshold,
            views=p.views_per_camera,
            watch=self._watch,
        )
        pipeline = Pipeline(student, p.engine, len(p.camera_names), options)
        log(f"{student.model_id} is open on {pipeline.engine.name} for {len(p.camera_names)} cameras")
        return pipeline

    def _governing(self) -> Governing | None:
        """What keeps the deadline; None without one."""
        p = self.settings
        if not p.deadline_ms:
            return None
        governor = Governor(work_levels(p.fewest_frames, 1 + len(p.lighter_students)), p.deadline_ms)
        return Governing(governor, self._students, self._reports.health, self.get_logger().info)

    def _report(self, governing: Governing | None, record: Frame, error: Exception | None) -> None:
        """The last stage of a frame."""
        self._reports.reporter.finished(record, error)
        if governing is not None:
            governing.answered(record)

    def _end_after_build(self, not_kept: str) -> None:
        if not_kept:
            self.get_logger().error(not_kept)
        self.exit_code = 1 if not_kept else 0

    def _finish(self, detector: FrameDetector, stages: OverlappedStages[Frame]) -> None:
        """Finish the frames at work."""
        detector.stop_waiting()
        waiting = stages.stop()
        if waiting is not None:
            self._reports.reporter.dropped(waiting, "the node was deactivated")


def _delay_monitor(p: DetectorOptions) -> DelayMonitor:
    return DelayMonitor(p.max_allowed_processing_time_ms, p.max_acceptable_consecutive_delay_ms)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(BevStudent, arguments))


if __name__ == "__main__":
    main()
