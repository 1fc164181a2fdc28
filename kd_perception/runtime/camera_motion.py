"""Cameras of one rig that fire at different times: each is placed where it was, seen from the ego at the anchor's time.

At 15 m/s a camera that fires 50 ms after the anchor stands 0.75 m further on, about a cell of the grid. The world is
taken to stand still between the two exposures; what moves by itself is off by its own motion in that time.
"""

from collections.abc import Callable, Sequence

import numpy as np

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera, moved
from kd_perception.geometry.transforms import invert

# A motion that differs by less from the one in use is not worth new geometry tables: on a straight road at constant
# speed the tables are built once.
HELD_METRES, HELD_RADIANS = 0.05, 0.003


class CameraMotion:
    """Follows a running robot: moves cameras by odometry, holding on to motions that change little. Not thread-safe."""

    def __init__(self, odom_from_base: Callable[[int], np.ndarray]) -> None:
        """`odom_from_base`: pose (4, 4) at a time in nanoseconds; raises CalibrationError where it is not known."""
        self._odom_from_base = odom_from_base
        self._held: dict[str, np.ndarray] = {}

    def at_anchor(
        self, cameras: Sequence[Camera], anchor_ns: int, ages_ns: Sequence[int | None]
    ) -> tuple[tuple[Camera, ...], str]:
        """The cameras seen from the ego at the anchor's time, and '' or why they could not be moved.

        `ages_ns`: anchor's stamp minus the camera's, None for a camera without an image; as in SyncedFrame.
        """
        problem = ""
        placed = []
        for camera, age_ns in zip(cameras, ages_ns, strict=True):
            motion = np.eye(4)
            if age_ns:
                try:
                    at_anchor = invert(self._odom_from_base(anchor_ns))
                    motion = at_anchor @ self._odom_from_base(anchor_ns - age_ns)
                except CalibrationError as error:
                    problem = f"cameras are taken to have fired together: {error}"
            placed.append(moved(camera, self._hold(camera.name, motion)))
        return tuple(placed), problem

    def _hold(self, name: str, motion: np.ndarray) -> np.ndarray:
        """The motion in use, replaced where the new one differs by enough to matter."""
        held = self._held.get(name)
        if held is not None:
            difference = invert(held) @ motion
            turned = np.linalg.norm(difference[:3, :3] - np.eye(3)) / np.sqrt(2.0)  # the angle, for small ones
            if np.linalg.norm(difference[:3, 3]) < HELD_METRES and turned < HELD_RADIANS:
                return held
        self._held[name] = motion
        return motion
