"""Parameters of the detector node."""

from dataclasses import dataclass

from kd_perception.datasets.nuscenes import CAMERA_CHANNELS
from kd_perception.nodes.common.parameters import parameter


@dataclass(frozen=True)
class BevStudentParameters:
    """Parameters of the detector node; read on configure."""

    model: str = parameter("", "student file (.onnx) written by kd export")
    engine: str = parameter("auto", "inference engine: auto, openvino, onnxruntime or another that is installed")
    camera_names: tuple[str, ...] = parameter(
        CAMERA_CHANNELS, "the rig's cameras in order, the anchor first; camera{i} is the i-th"
    )
    transport: str = parameter("compressed", "what cameras publish", choices=("compressed", "raw"))
    base_frame: str = parameter("base_link", "frame of the boxes")
    odometry_frame: str = parameter("odom", "frame in which the robot moves without jumps, for temporal memory")
    camera_motion: bool = parameter(
        False, "place each camera where odometry says it was at its own exposure; for rigs whose cameras fire apart"
    )
    views_per_camera: int = parameter(
        1, "crops of each image, side by side, that the student sees: 3 for fisheyes, which show objects small", 1, 8
    )
    score_threshold: float = parameter(0.1, "lowest score of a published box", 0.0, 1.0)
    threads: int = parameter(0, "threads of the inference engine; 0 lets it choose", 0, 256)
    engine_cache: str = parameter("", "folder of built engines; empty: $XDG_CACHE_HOME/kd_perception/engines")
    sync_tolerance_ms: float = parameter(
        60.0, "greatest distance of a camera's exposure from the anchor's, ms", 0.0, 1000.0
    )
    sync_deadline_ms: float = parameter(
        100.0, "longest wait for other cameras, and for calibration, after the anchor image came, ms", 0.0, 60000.0
    )
    reliable_input: bool = parameter(False, "ask cameras for reliable delivery (evaluation from a bag)")
    max_allowed_processing_time_ms: float = parameter(
        200.0, "a slower frame is a warning in diagnostics, ms", 0.0, 60000.0
    )
    max_acceptable_consecutive_delay_ms: float = parameter(
        1000.0, "slow for longer than this is an error in diagnostics, ms", 0.0, 600000.0
    )
    build_only: bool = parameter(False, "open the engine (which may build and cache it), then exit")
    wait_for_subscribers: tuple[str, ...] = parameter(
        (), "entries output=count (objects, markers, status): activation waits for them"
    )
    subscriber_timeout_s: float = parameter(30.0, "longest wait for subscribers on activation, s", 0.0, 600.0)
