"""Cameras of one rig that fire at different times: each is placed where it was, seen from the ego at the anchor's time.

At 15 m/s a camera that fires 50 ms after the anchor stands 0.75 m further on, about a cell of the grid. The scene is
taken to stand still between the two exposures; what moves by itself is off by its own motion in that time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera, moved
from kd_perception.geometry.transforms import invert

# A motion that differs by less from the one in use is not worth new geometry tables: on a straight road at constant
# speed the tables are built once.
HELD_METRES, HELD_RADIANS = 0.05, 0.003


@dataclass(frozen=True)
class _Placed:
    """A camera as calibrated, the motion (4, 4) in use for it, and the camera so moved."""

    camera: Camera
    motion: np.ndarray
    moved: Camera


class CameraMotion:
    """Moves cameras by the odometry of a moving robot, and keeps the motion in use while it changes little.

    A camera whose calibration and motion stay the same is returned as the same object. Not thread-safe.
    """

    def __init__(self, odom_from_base: Callable[[int], np.ndarray]) -> None:
        """`odom_from_base`: pose (4, 4) at a time in nanoseconds; raises CalibrationError where it is not known."""
        self._odom_from_base = odom_from_base
        self._placed: dict[str, _Placed] = {}

    def at_anchor(
        self, cameras: Sequence[Camera], anchor_ns: int, ages_ns: Sequence[int | None]
    ) -> tuple[tuple[Camera, ...], str]:
        """The cameras seen from the ego at the anchor's time, and '' or why they could not be moved.

        `ages_ns`: anchor's stamp minus the camera's, None for a camera without an image; as in FrameRecord.
        """
        base_from_odom, problem = None, ""
        placed = []
        for camera, age_ns in zip(cameras, ages_ns, strict=True):
            motion = np.eye(4)
            if age_ns:
                try:
                    if base_from_odom is None:
                        base_from_odom = invert(self._odom_from_base(anchor_ns))
                    motion = base_from_odom @ self._odom_from_base(anchor_ns - age_ns)
                except CalibrationError as error:
                    problem = f"cameras are taken to have fired together: {error}"
            placed.append(self._place(camera, motion))
        return tuple(placed), problem

    def _place(self, camera: Camera, motion: np.ndarray) -> Camera:
        """The camera moved by the motion in use, which a new one replaces where it differs by enough to matter."""
        known = self._placed.get(camera.name)
        if known is not None and _alike(known.motion, motion):
            if known.camera.same_calibration(camera):
                return known.moved
            motion = known.motion
        known = self._placed[camera.name] = _Placed(camera, motion, moved(camera, motion))
        return known.moved


def _alike(held: np.ndarray, motion: np.ndarray) -> bool:
    """Whether two motions (4, 4) differ by too little to matter."""
    difference = invert(held) @ motion
    turned = np.linalg.norm(difference[:3, :3] - np.eye(3)) / np.sqrt(2.0)  # the angle, for small ones
    return bool(np.linalg.norm(difference[:3, 3]) < HELD_METRES and turned < HELD_RADIANS)
