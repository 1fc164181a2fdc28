"""Options of the node `hard_sample_recorder`, which keeps the frames that student and teacher dispute."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kd_perception.geometry.classes import CLASSES_HELP
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.option import option, same_as
from kd_perception.options.teacher import TeacherOptions
from kd_perception.topics import camera_topics


@dataclass(frozen=True)
class RecorderOptions:
    """Parameters of the recorder; it reads them on configure."""

    folder: Path | None = option(
        "Folder of the recording, a rosbag2; the node continues one that it wrote before.",
        default=None,
        argument="recording",
        required=True,
    )
    budget_mb: int = option(
        "Most megabytes of the recording, never exceeded: the least useful frames leave.",
        default=10_000,
        limits=(1, 100_000_000),
        argument="recording_mb",
    )
    camera_names: tuple[str, ...] = same_as(DetectorOptions, "camera_names")
    camera_topics: str = same_as(DetectorOptions, "camera_topics")
    image_topic: str = same_as(DetectorOptions, "image_topic")
    transport: Literal["compressed", "raw"] = same_as(DetectorOptions, "transport")
    rectified: tuple[Literal["auto", "true", "false"], ...] = same_as(DetectorOptions, "rectified")
    ignore_mask: tuple[str, ...] = same_as(DetectorOptions, "ignore_mask")
    lidar_topics: tuple[str, ...] = same_as(TeacherOptions, "lidar_topics")
    base_frame: str = same_as(DetectorOptions, "base_frame")
    odometry_frame: str = same_as(DetectorOptions, "odometry_frame")
    classes: Path | None = option(CLASSES_HELP, default=None)
    teacher_classes: Path | None = option(
        "The teacher's class list (.yaml), or its file (.onnx); by default it has the student's classes.", default=None
    )
    student_score: float = option(
        "Score from which on a box of the student is a claim.", default=0.3, limits=(0.0, 1.0), live=True
    )
    teacher_score: float = option(
        "Score from which on a box of the teacher is taken as right.", default=0.4, limits=(0.0, 1.0), live=True
    )
    agreement: float = option(
        "Agreement in place, size, heading and score below which a matched pair is disputed.",
        default=0.5,
        limits=(0.0, 1.0),
        live=True,
    )
    least_importance: float = option(
        "Sum of doubts from which on a frame is worth keeping; one clearly missed object has about 0.5.",
        default=0.3,
        limits=(0.0, 1000.0),
    )
    niceness: int = same_as(TeacherOptions, "niceness")
    interval_s: float = option("Least time between two kept frames, in s.", default=0.9, limits=(0.0, 3600.0))
    place_m: float = option(
        "How far the robot must have moved for the same disputes to be kept again, in m.",
        default=5.0,
        limits=(0.0, 1000.0),
    )
    pair_ms: float = option(
        "Greatest distance of the student's frame from the teacher's cloud, in ms; boxes are moved across it.",
        default=250.0,
        limits=(0.0, 2000.0),
    )
    teacher_max_age_s: float = option(
        "Latest answer of the teacher, in s after its cloud; messages are held that long.",
        default=3.0,
        limits=(0.1, 60.0),
    )
    cloud_window_s: float = option(
        "Clouds kept before the frame, in s: the sweeps that the teacher sees.", default=0.5, limits=(0.0, 5.0)
    )
    memory_interval_s: float = option(
        "Each camera's image so long before is kept, too, for students with memory, in s; 0 keeps none.",
        default=0.5,
        limits=(0.0, 5.0),
    )
    held_mb: int = option("Most megabytes of messages held in memory.", default=512, limits=(1, 100_000))

    def __post_init__(self) -> None:
        """Raises ConfigError for names of cameras that make no topics of their own."""
        camera_topics(self.camera_names, self.camera_topics, self.image_topic)
