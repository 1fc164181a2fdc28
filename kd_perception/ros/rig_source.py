"""The rig as the graph tells it: each camera's latest CameraInfo and its mounting from tf, in rig order."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import make_transform
from kd_perception.ros.cameras import from_camera_info
from kd_perception.ros.tf import TransformSource

# A camera that has never told its calibration must not see any cell of the grid: far below it, looking down.
_LOOKS_DOWN = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
_NOWHERE = make_transform(_LOOKS_DOWN, [0.0, 0.0, -1e4])


@dataclass(frozen=True)
class Rig:
    """Cameras in rig order; problems: camera name -> sentence why a stand-in that sees nothing is in its place."""

    cameras: tuple[Camera, ...]
    problems: dict[str, str]


class RigSource:
    """Follows calibration that changes while running. Thread-safe."""

    def __init__(self, names: Sequence[str], base_frame: str, transforms: TransformSource) -> None:
        self.names = tuple(names)
        self._base_frame = base_frame
        self._transforms = transforms
        self._infos: dict[int, CameraInfo] = {}
        self._lock = threading.Lock()

    def set_info(self, index: int, message: CameraInfo) -> None:
        """Take a camera's newest CameraInfo."""
        with self._lock:
            self._infos[index] = message

    def rig(self, stamp_ns: int) -> Rig:
        """The rig at a time; cameras that cannot be used are replaced and named in `problems`."""
        cameras, problems = [], {}
        for index, name in enumerate(self.names):
            try:
                cameras.append(self._camera(index, stamp_ns))
            except CalibrationError as error:
                problems[name] = str(error)
                cameras.append(_blind(name))
        return Rig(tuple(cameras), problems)

    def _camera(self, index: int, stamp_ns: int) -> Camera:
        name = self.names[index]
        with self._lock:
            info = self._infos.get(index)
        if info is None:
            raise CalibrationError(
                f"camera '{name}': no CameraInfo has come; publish it on ~/input/camera{index}/camera_info"
            )
        if not info.header.frame_id:
            raise CalibrationError(
                f"camera '{name}': its CameraInfo has no frame_id; set it to the camera's optical frame"
            )
        ego_from_camera = self._transforms.lookup(self._base_frame, info.header.frame_id.lstrip("/"), stamp_ns)
        return from_camera_info(info, name, ego_from_camera)


def _blind(name: str) -> Camera:
    return Camera(name, np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]), _NOWHERE, 640, 480)
