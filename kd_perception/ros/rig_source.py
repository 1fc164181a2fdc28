"""The rig of a running graph: each camera's latest CameraInfo and its mounting from tf, in rig order.

A camera's object is built again only when its CameraInfo or its mounting has other values: cameras are compared by
identity first, frame after frame.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sensor_msgs.msg import CameraInfo

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import make_transform
from kd_perception.ros.cameras import from_camera_info
from kd_perception.ros.tf import TransformSource

# A camera without calibration must not see any cell of the grid: far below it, looking down.
_LOOKS_DOWN = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
_NOWHERE = make_transform(_LOOKS_DOWN, [0.0, 0.0, -1e4])


@dataclass(frozen=True)
class CalibratedRig:
    """Cameras in rig order; problems: camera name -> sentence why a stand-in that sees nothing is in its place."""

    cameras: tuple[Camera, ...]
    problems: dict[str, str]


@dataclass(frozen=True)
class _BuiltCamera:
    """A camera and what it was built from: `ego_from_camera` is (4, 4)."""

    info: CameraInfo
    ego_from_camera: np.ndarray
    camera: Camera


class RigSource:
    """Follows calibration that changes while running. Thread-safe."""

    def __init__(
        self,
        names: Sequence[str],
        base_frame: str,
        transforms: TransformSource,
        *,
        rectified: Sequence[bool] | None = None,
        ignored: Mapping[str, np.ndarray] | None = None,
        topics: Sequence[str] = (),
    ) -> None:
        """`rectified`: for each camera, whether its images are (ros.rectified); None: all are raw.

        ignored: masks (height, width) by camera name (runtime.ignore_mask); topics: where each camera's
        CameraInfo comes from, for sentences.
        """
        self._ignored = dict(ignored or {})
        self._topics = dict(enumerate(topics))
        self._rectified = tuple(rectified or [False] * len(names))
        self.names = tuple(names)
        self._base_frame = base_frame
        self._transforms = transforms
        self._infos: dict[int, CameraInfo] = {}
        self._image_frames: dict[int, str] = {}
        self._built: dict[int, _BuiltCamera] = {}
        self._blind = tuple(_blind(name) for name in names)
        self._lock = threading.Lock()

    def set_info(self, index: int, message: CameraInfo) -> None:
        """Take a camera's newest CameraInfo; one with the values of the last changes nothing."""
        with self._lock:
            known = self._infos.get(index)
            if known is None or not _same_info(known, message):
                self._infos[index] = message

    def set_image_frame(self, index: int, frame_id: str) -> str:
        """Take the frame of a camera's newest image: where it differs from CameraInfo's, the image's counts.

        Returns '' or a sentence: they differ.
        """
        with self._lock:
            self._image_frames[index] = frame_id.lstrip("/")
            info = self._infos.get(index)
        of_image, of_info = self._image_frames[index], "" if info is None else info.header.frame_id.lstrip("/")
        if not of_image or not of_info or of_image == of_info:
            return ""
        return (
            f"camera '{self.names[index]}': its images are in frame '{of_image}', its CameraInfo in '{of_info}'; the "
            "images' frame is used, correct the other"
        )

    def rig(self, stamp_ns: int) -> CalibratedRig:
        """The rig at a time; cameras that cannot be used are replaced and named in `problems`."""
        cameras, problems = [], {}
        for index, name in enumerate(self.names):
            try:
                cameras.append(self._camera(index, stamp_ns))
            except CalibrationError as error:
                problems[name] = str(error)
                cameras.append(self._blind[index])
        return CalibratedRig(tuple(cameras), problems)

    def _camera(self, index: int, stamp_ns: int) -> Camera:
        name = self.names[index]
        with self._lock:
            info, built = self._infos.get(index), self._built.get(index)
            of_image = self._image_frames.get(index, "")
        if info is None:
            topic = self._topics.get(index, "its topic")
            raise CalibrationError(f"camera '{name}': no CameraInfo has come; publish it on {topic}")
        of_info = info.header.frame_id.lstrip("/")
        if not of_image and not of_info:
            raise CalibrationError(
                f"camera '{name}': its CameraInfo has no frame_id, nor have its images; set both to the optical frame"
            )
        try:
            ego_from_camera = self._transforms.lookup(self._base_frame, of_image or of_info, stamp_ns)
        except CalibrationError as error:
            differs = of_image and of_info and of_image != of_info
            also = f" (its images' frame; its CameraInfo is in '{of_info}', give both the same)" if differs else ""
            raise CalibrationError(f"camera '{name}': {error}{also}") from error
        if built is None or built.info is not info or not _same_matrix(built.ego_from_camera, ego_from_camera):
            camera = from_camera_info(info, name, ego_from_camera, rectified=self._rectified[index])
            if name in self._ignored:
                camera = replace(camera, ignored=self._ignored[name])
            built = _BuiltCamera(info, ego_from_camera, camera)
            with self._lock:
                self._built[index] = built
        return built.camera


def _same_matrix(first: np.ndarray, second: np.ndarray) -> bool:
    return first is second or np.array_equal(first, second)


def _same_info(first: CameraInfo, second: CameraInfo) -> bool:
    """Whether two messages calibrate the same camera; their stamps do not matter."""
    return (
        all(bool((getattr(first, key) == getattr(second, key)).all()) for key in "krp")
        and first.d == second.d
        and (first.width, first.height, first.distortion_model)
        == (second.width, second.height, second.distortion_model)
        and (first.binning_x, first.binning_y, first.roi) == (second.binning_x, second.binning_y, second.roi)
        and first.header.frame_id == second.header.frame_id
    )


def _blind(name: str) -> Camera:
    return Camera(name, np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]), _NOWHERE, 640, 480)
