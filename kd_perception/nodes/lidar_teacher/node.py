"""The LiDAR teacher node: point clouds, tf, odometry in; boxes in base_link at the newest cloud's stamp out.

Messages, diagnostics and engines are those of `bev_student`. Clouds are kept as they came (`intake`); only what a
frame takes is read, by threads of their own (`detection`).
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import DataError
from kd_perception.nodes.common.executors import executor_of_many_messages
from kd_perception.nodes.common.health import DelayMonitor, Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.node import run, wait_for_subscribers
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.nodes.common.output_formats import chosen_formats
from kd_perception.nodes.common.outputs import Outputs
from kd_perception.nodes.common.reporting import FrameReporter
from kd_perception.nodes.common.stages import OverlappedStages
from kd_perception.nodes.lidar_teacher.detection import CloudFrames, Frame, TeacherFrames
from kd_perception.nodes.lidar_teacher.intake import CloudIntake, CloudReceivers, CloudReports
from kd_perception.nodes.lidar_teacher.kept_clouds import KeptClouds, Pace
from kd_perception.options.teacher import TeacherOptions
from kd_perception.ros.tf import open_transforms
from kd_perception.runtime.lidar_pipeline import LidarPipeline
from kd_perception.teacher.spec import open_teacher


class LidarTeacher(ManagedNode[TeacherOptions]):
    """Lifecycle: configure loads the teacher, activate listens, deactivate stops that, cleanup frees the teacher."""

    def __init__(self) -> None:
        super().__init__("lidar_teacher", TeacherOptions())

    def configure(self, ending: ExitStack) -> None:
        """Load the teacher and open the engine."""
        p = self.settings
        self._topics = [self.resolve_topic_name(topic) for topic in p.lidar_topics]
        formats = chosen_formats(p.output_messages)
        self._pipeline = self._open_pipeline()
        model, engine = self._pipeline.teacher.model_id, self._pipeline.engine
        self._pace = Pace(p.rate_hz)
        health = Health(self, _delay_monitor(p))
        ending.callback(health.close)
        health.detail({"model": model, "engine": engine.name})
        outputs = Outputs(self, formats, frame_id=p.base_frame, camera_names=self._topics, model=model)
        ending.callback(outputs.close)
        log_error = self.get_logger().error
        reporter = FrameReporter(self._topics, outputs, health, lambda: engine.failures, log_error)
        self._reports = CloudReports(health, outputs, reporter)

    def activate(self, ending: ExitStack) -> None:
        """Start listening, once the expected subscribers are there."""
        p, reports = self.settings, self._reports
        problem = wait_for_subscribers(
            self, p.wait_for_subscribers, reports.outputs.named, p.subscriber_timeout_s, lambda: False
        )
        if problem:
            raise DataError(problem)
        ending.enter_context(reports.health.active())
        reports.outputs.restart()
        transforms = open_transforms(self, partial(reports.health.problem, "refused_transforms"))
        ending.callback(transforms.close)
        poses = PoseSource(transforms, p.odometry_frame, p.base_frame)
        clouds = KeptClouds(self._topics, self._pipeline.teacher.spec.points)
        frames = CloudFrames(p.base_frame, p.full_intensity)
        deadline_s = p.pose_wait_ms / 1e3
        detector = TeacherFrames(self._pipeline, clouds, transforms, poses, frames, deadline_s=deadline_s)
        stages = OverlappedStages(detector.prepare, detector.infer, reports.reporter.finished)
        ending.callback(self._finish, detector, stages)
        receivers = CloudReceivers(clouds, poses, stages, self._pace)
        CloudIntake(self, self._topics, receivers, reports).listen(ending)

    def follow(self, settings: TeacherOptions) -> None:
        """See ManagedNode."""
        super().follow(settings)
        self._pipeline.score_threshold = settings.score_threshold
        self._pace.rate_hz = settings.rate_hz
        self._reports.health.watch_delay(_delay_monitor(settings))

    def _open_pipeline(self) -> LidarPipeline:
        p = self.settings
        teacher = open_teacher(p.model)
        options = EngineOptions(threads=p.threads, cache_folder=p.engine_cache, report=self.get_logger().info)
        pipeline = LidarPipeline(teacher, p.engine, options, score_threshold=p.score_threshold)
        self.get_logger().info(f"{teacher.model_id} runs on {pipeline.engine.name}")
        if p.build_only:
            not_kept = pipeline.engine.not_kept
            if not_kept:
                self.get_logger().error(not_kept)
            self.exit_code = 1 if not_kept else 0
        return pipeline

    def _finish(self, detector: TeacherFrames, stages: OverlappedStages[Frame]) -> None:
        """Finish the frames at work."""
        detector.stop_waiting()
        waiting = stages.stop()
        if waiting is not None:
            self._reports.reporter.dropped(waiting, "the node was deactivated")


def _delay_monitor(p: TeacherOptions) -> DelayMonitor:
    return DelayMonitor(p.max_allowed_processing_time_ms, p.max_acceptable_consecutive_delay_ms)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(LidarTeacher, arguments, executor_of_many_messages))


if __name__ == "__main__":
    main()
