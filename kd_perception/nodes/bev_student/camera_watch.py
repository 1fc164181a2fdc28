"""Cameras that send, and yet something is wrong: frozen, black, two publishers on a topic, images lost on the way.

ROS-free. What it finds is reported, never masked: a robot that stands still in a simulation sees the same image
without end, and a rear camera at night may be black.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

SAMPLED = 64  # of so many rows, or bytes, one is compared first: images that differ nearly always differ there
FROZEN_AFTER = 5  # identical images in a row, their stamps advancing: noise alone makes two images differ
BLACK_LEVEL = 12  # of 255; the brightest pixel of a camera that sees something is far above


@dataclass
class _WatchedCamera:
    publisher: bytes = b""
    replaced: set[bytes] = field(default_factory=set)  # publishers that another one had followed
    sequence: dict[bytes, int] = field(default_factory=dict)
    image: np.ndarray | None = None  # the newest that differs from the one before
    first_ns: int = 0
    repeats: int = 0


class CameraWatch:
    """What has been seen of each camera. `arrived` belongs to one thread, `frozen` and `black` to another."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._cameras = [_WatchedCamera() for _ in names]

    def arrived(self, index: int, publisher: bytes, sequence: int | None) -> tuple[int, str]:
        """Take a message's publisher (its global id) and publication number.

        Returns how many of that publisher's messages were lost before it, and '' or a sentence: several publish here.
        """
        camera = self._cameras[index]
        if publisher != camera.publisher:
            if camera.publisher:
                camera.replaced.add(camera.publisher)
            camera.publisher = publisher
        lost = 0
        if sequence is not None:
            lost = max(0, sequence - camera.sequence.get(publisher, sequence - 1) - 1)
            camera.sequence[publisher] = sequence
        if publisher not in camera.replaced:  # a driver that was restarted only has another id
            return lost, ""
        return lost, (
            f"camera '{self._names[index]}': several publishers take turns on its topic; end all but one, frames mix "
            "them now"
        )

    def frozen(self, index: int, stamp_ns: int, data: memoryview | np.ndarray) -> str:
        """Take an image's content; '' or a sentence when it has stayed the same while its stamps advanced."""
        camera = self._cameras[index]
        image = np.asarray(data)
        if camera.image is None or not _identical(camera.image, image):
            camera.image, camera.first_ns, camera.repeats = image, stamp_ns, 0
            return ""
        camera.repeats += stamp_ns > camera.first_ns
        if camera.repeats < FROZEN_AFTER:
            return ""
        return (
            f"camera '{self._names[index]}' is frozen: the same image for {(stamp_ns - camera.first_ns) / 1e9:.1f} s "
            "while its stamps advance; restart its driver"
        )

    def black(self, index: int, pixels: np.ndarray) -> str:
        """Take the network's view of an image, uint8; '' or a sentence when nothing is on it."""
        if pixels.max() > BLACK_LEVEL:
            return ""
        return f"camera '{self._names[index]}' is black; check its lens cap, exposure and cable"


def _identical(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two images are equal: encoded bytes (N,), or RGB (height, width, 3)."""
    return (
        first.shape == second.shape
        and np.array_equal(first[::SAMPLED], second[::SAMPLED])
        and np.array_equal(first, second)
    )
