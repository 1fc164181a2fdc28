"""Options of the detector node, `bev_student`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kd_perception.datasets.nuscenes import CAMERA_CHANNELS
from kd_perception.errors import ConfigError
from kd_perception.options.option import option
from kd_perception.resources import SHIPPED_STUDENT, resource
from kd_perception.topics import camera_topics

DEFAULT_STUDENT = Path(SHIPPED_STUDENT).stem


@dataclass(frozen=True)
class DetectorOptions:
    """Parameters of the detector node; it reads them on configure, and follows live ones while it runs."""

    model: Path | None = option(
        f"Student file (.onnx) that kd export writes, or the name of a shipped one; by default {DEFAULT_STUDENT}.",
        default=None,
        live=True,
    )
    engine: str = option(
        "Engine: tensorrt, onnxruntime-rtx, onnxruntime-cuda, openvino, onnxruntime; auto takes the first that works; "
        "openvino-bf16 computes files in FP32 in bfloat16, and auto-bf16 is auto with it.",
        default="auto",
    )
    camera_names: tuple[str, ...] = option(
        "Cameras of the rig in order, the anchor first.",
        default=CAMERA_CHANNELS,
        argument="cameras",
    )
    camera_topics: str = option(
        "Prefix of each camera's topics; {name} stands for its name, {i} for its number.", default="{name}"
    )
    image_topic: str = option("Name of a camera's images below that; CameraInfo is camera_info.", default="image")
    transport: Literal["compressed", "raw"] = option(
        "What the cameras publish; raw images cost several times the processor time.", default="compressed"
    )
    rectified: tuple[Literal["auto", "true", "false"], ...] = option(
        "Whether images are rectified: true, false or auto (by topic name); one for all cameras, or one for each.",
        default=("auto",),
    )
    base_frame: str = option("Frame of the boxes.", default="base_link")
    odometry_frame: str = option(
        "Frame in which the robot moves without jumps (REP-105), for temporal memory.", default="odom"
    )
    camera_motion: bool = option(
        "Place each camera where odometry puts it at its own exposure; for rigs whose cameras fire apart.",
        default=False,
    )
    views_per_camera: int = option(
        "Crops of each image, side by side, that the student sees; 3 for fisheyes, which show objects small.",
        default=1,
        limits=(1, 8),
    )
    ignore_mask: tuple[str, ...] = option(
        "Entries camera=file, where a camera sees the robot itself: a PNG, white there, or a YAML with polygons.",
        default=(),
    )
    score_threshold: float = option("Lowest score of a published box.", default=0.1, limits=(0.0, 1.0), live=True)
    output_messages: tuple[Literal["kd", "vision", "autoware"], ...] = option(
        "Messages of the boxes, one or more: kd_msgs, vision_msgs' Detection3DArray, Autoware's DetectedObjects.",
        default=("kd",),
    )
    threads: int = option("Threads of the inference engine; 0 lets it choose.", default=0, limits=(0, 256))
    engine_cache: Path | None = option(
        "Folder of built engines; by default $XDG_CACHE_HOME/kd_perception/engines.", default=None
    )
    sync_tolerance_ms: float = option(
        "Greatest distance of a camera's exposure from the anchor's, in ms.", default=60.0, limits=(0.0, 1000.0)
    )
    sync_deadline_ms: float = option(
        "Longest wait for the other cameras and for calibration, in ms after the anchor image arrives.",
        default=100.0,
        limits=(0.0, 60000.0),
    )
    reliable_input: bool = option("Ask the cameras for reliable delivery, to evaluate from a bag.", default=False)
    max_allowed_processing_time_ms: float = option(
        "Processing time above which diagnostics warn, in ms.", default=200.0, limits=(0.0, 60000.0), live=True
    )
    max_acceptable_consecutive_delay_ms: float = option(
        "Time of slow processing, or of no answered frame, after which diagnostics report an error, in ms.",
        default=1000.0,
        limits=(0.0, 600000.0),
        live=True,
    )
    deadline_ms: float = option(
        "Longest time from the anchor image's arrival to its boxes, in ms; a governor keeps it, doing less. 0: none.",
        default=0.0,
        limits=(0.0, 60000.0),
    )
    fewest_frames: int = option(
        "To keep deadline_ms, at least one frame of so many is answered.", default=3, limits=(1, 100)
    )
    lighter_students: tuple[str, ...] = option(
        "Student files, each faster than the one before, that stand in to keep deadline_ms once frames are fewest.",
        default=(),
    )
    stage_folder: Path | None = option(
        "Folder for pixels, tables, outputs and boxes of the first 200 frames, for kd parity; by default none.",
        default=None,
    )
    build_only: bool = option("Open the engine, which may build and cache it, then exit.", default=False)
    wait_for_subscribers: tuple[str, ...] = option(
        "Entries output=count (objects, vision, autoware, markers, status): activation waits for so many subscribers.",
        default=(),
    )
    subscriber_timeout_s: float = option(
        "Longest wait for subscribers on activation, in s.", default=30.0, limits=(0.0, 600.0)
    )

    def __post_init__(self) -> None:
        """Raises ConfigError for names that make no rig (none, one twice, two of the same topic), and for lighter
        students that nobody would ask."""
        if not self.camera_names:
            raise ConfigError("no camera is named; name those of the rig, the anchor first")
        camera_topics(self.camera_names, self.camera_topics, self.image_topic)
        if self.lighter_students and not self.deadline_ms:
            raise ConfigError("lighter_students stand in to keep deadline_ms, which is 0; set it, or leave them out")

    @property
    def student_file(self) -> Path:
        """The student file to open; raises DataError if the shipped one is not installed."""
        return self.model or resource(SHIPPED_STUDENT)
