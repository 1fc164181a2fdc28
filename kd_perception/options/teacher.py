"""Options of the node `lidar_teacher`, which detects in point clouds as the cameras' teacher does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kd_perception.errors import ConfigError
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.option import option, same_as
from kd_perception.topics import check_name

OWN_NAME = "~/"  # begins topics that belong to the node


@dataclass(frozen=True)
class TeacherOptions:
    """Parameters of the LiDAR teacher; it reads them on configure."""

    model: Path | None = option(
        "Teacher file (.onnx) that kd export writes of a LiDAR teacher.",
        default=None,
        argument="teacher",
        required=True,
    )
    engine: str = same_as(DetectorOptions, "engine", default="auto-bf16")  # leaves the processor to the cameras
    lidar_topics: tuple[str, ...] = option(
        "Topics of the LiDARs' clouds; those of the first give frames their time.", default=("~/input/points",)
    )
    rate_hz: float = option(
        "Most frames per second, each begun after the one before is answered; other clouds join as sweeps. 0: no pace.",
        default=1.0,
        limits=(0.0, 100.0),
        argument="teacher_rate",
        live=True,
    )
    full_intensity: float = option(
        "Intensity of a cloud's brightest point, which training knows as 255: 255, 1, 65535 ...",
        default=255.0,
        limits=(1e-3, 1e9),
    )
    base_frame: str = same_as(DetectorOptions, "base_frame")
    odometry_frame: str = option(
        "Frame in which the robot moves without jumps (REP-105), by which older sweeps are moved.", default="odom"
    )
    score_threshold: float = same_as(DetectorOptions, "score_threshold")
    output_messages: tuple[Literal["kd", "vision", "autoware"], ...] = same_as(DetectorOptions, "output_messages")
    threads: int = same_as(DetectorOptions, "threads", default=1)  # the others are the cameras' detector's
    niceness: int = option(
        "How far the process steps back for others that want the processor, as nice(1) counts; read at its start.",
        default=10,
        limits=(0, 19),
    )
    engine_cache: Path | None = same_as(DetectorOptions, "engine_cache")
    pose_wait_ms: float = option(
        "Longest wait for transforms and odometry, in ms after a cloud arrives.", default=200.0, limits=(0.0, 60000.0)
    )
    reliable_input: bool = same_as(
        DetectorOptions,
        "reliable_input",
        description="Ask the LiDARs for reliable delivery, to evaluate from a bag.",
    )
    max_allowed_processing_time_ms: float = same_as(DetectorOptions, "max_allowed_processing_time_ms", default=1000.0)
    max_acceptable_consecutive_delay_ms: float = same_as(
        DetectorOptions, "max_acceptable_consecutive_delay_ms", default=5000.0
    )
    build_only: bool = same_as(DetectorOptions, "build_only")
    wait_for_subscribers: tuple[str, ...] = same_as(DetectorOptions, "wait_for_subscribers")
    subscriber_timeout_s: float = same_as(DetectorOptions, "subscriber_timeout_s")

    def __post_init__(self) -> None:
        """Raises ConfigError for topics that ROS does not take, none, or one twice."""
        if not self.lidar_topics or len(set(self.lidar_topics)) < len(self.lidar_topics):
            raise ConfigError("lidar_topics names no topic, or one twice; name each LiDAR's, the first gives the time")
        for topic in self.lidar_topics:
            check_name(topic.removeprefix(OWN_NAME), "a topic of lidar_topics")
