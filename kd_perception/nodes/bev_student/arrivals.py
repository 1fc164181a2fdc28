"""Cameras from which nothing comes, and cameras that never join a frame: which it is of three things, in sentences.

ROS-free and clock-free. An image that is missing now and then is only counted; this is about cameras that have been
missing for seconds.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from kd_perception.runtime.frame import FrameRecord

MISSING_S = 3.0  # without an image, or without joining a frame
APART_FRAMES = 5  # frames in a row that the camera has not joined in that time
CLOCKS_S = 1.0  # no transport takes as long: stamps that far off are another clock's
ANCHORS, IMAGES = 64, 16  # remembered images: one that comes seconds late still finds its anchor


@dataclass(frozen=True)
class _Image:
    stamp_ns: int
    came_s: float


@dataclass
class _Camera:
    came_s: float
    joined_s: float
    seen: bool = False
    apart: int = 0  # frames in a row without an image of it
    images: deque[_Image] = field(default_factory=lambda: deque(maxlen=IMAGES))


class Arrivals:
    """When images came and which frames they joined; times are steady, in seconds. Camera 0 is the anchor.

    Not thread-safe.
    """

    def __init__(self, names: Sequence[str], topics: Sequence[str], *, tolerance_ns: int, now_s: float) -> None:
        """`topics`: of the cameras' images; `now_s`: from when on silence counts."""
        self._names, self._topics = tuple(names), tuple(topics)
        self._tolerance_ns = tolerance_ns
        self._cameras = [_Camera(now_s, now_s) for _ in names]
        self._cameras[0].images = deque(maxlen=ANCHORS)

    def came(self, camera: int, now_s: float) -> None:
        """An image came; nobody need have read it."""
        self._cameras[camera].came_s, self._cameras[camera].seen = now_s, True

    def stamped(self, camera: int, stamp_ns: int, now_s: float) -> None:
        """An image was read that has this stamp."""
        self._cameras[camera].images.append(_Image(stamp_ns, now_s))

    def framed(self, record: FrameRecord, now_s: float) -> None:
        """A frame was put together."""
        for camera, message in zip(self._cameras, record.messages, strict=True):
            camera.apart = 0 if message is not None else camera.apart + 1
            camera.joined_s = now_s if message is not None else camera.joined_s

    def restart(self) -> None:
        """Time has jumped: stamps of before and after are not compared."""
        for camera in self._cameras:
            camera.images.clear()
            camera.apart = 0

    def silent(self, now_s: float) -> dict[int, float]:
        """Camera -> seconds since its last image, of those from which none comes."""
        waited = {index: now_s - camera.came_s for index, camera in enumerate(self._cameras)}
        return {index: seconds for index, seconds in waited.items() if seconds >= MISSING_S}

    def silences(self, now_s: float, hints: Mapping[int, str]) -> list[str]:
        """A sentence for every silent camera, one if all are; `hints`: camera -> why it may be."""
        silent = self.silent(now_s)
        if 1 < len(silent) == len(self._cameras):
            why = next(iter(hints.values()), "start the camera drivers, or check the names of the topics")
            topics = f"{self._topics[0]} and {len(self._topics) - 1} more topics"
            return [f"no camera sends images: nothing for {min(silent.values()):.0f} s on {topics}; {why}"]
        return [self._silence(index, seconds, hints.get(index, "")) for index, seconds in silent.items()]

    def apart(self, now_s: float) -> list[str]:
        """A sentence for every camera that sends images which join no frame."""
        silent = self.silent(now_s)
        return [
            self._why_apart(index)
            for index, camera in enumerate(self._cameras)
            if index not in silent and camera.apart >= APART_FRAMES and now_s - camera.joined_s >= MISSING_S
        ]

    def _silence(self, index: int, seconds: float, hint: str) -> str:
        role = ", the anchor without which there is no frame" if index == 0 else ""
        last = "no more images" if self._cameras[index].seen else "no images"
        why = hint or "check its driver and the topic's name"
        return f"camera '{self._names[index]}'{role}: {last} for {seconds:.0f} s on {self._topics[index]}; {why}"

    def _why_apart(self, index: int) -> str:
        where, anchor = f"camera '{self._names[index]}' joins no frame", f"'{self._names[0]}'"
        images, anchors = self._cameras[index].images, self._cameras[0].images
        # At the arrival of each image: how far its stamp is from that of the anchor's newest.
        before = [(image, [a for a in anchors if a.came_s <= image.came_s]) for image in images]
        offsets_ns = [image.stamp_ns - earlier[-1].stamp_ns for image, earlier in before if earlier]
        if not offsets_ns:
            return f"{where}: none of its images could be compared with those of {anchor}; check its driver"
        offset_s = median(offsets_ns) / 1e9
        pairs = [(abs(i.stamp_ns - a.stamp_ns), i.came_s - a.came_s) for i in images for a in anchors]
        distance_ns, late_s = min(pairs)
        if abs(offset_s) >= CLOCKS_S or distance_ns > self._tolerance_ns:
            away = f"{abs(offset_s):.3f} s {'after' if offset_s > 0 else 'before'}"
            return (
                f"{where}: its stamps are {away} those of {anchor}; synchronise clocks (PTP, NTP) and triggers, or "
                "raise sync_tolerance_ms"
            )
        return (
            f"{where}: its images come {1e3 * late_s:.0f} ms later than those of {anchor} with the same stamp; speed "
            "up its transport, or raise sync_deadline_ms up to the anchor's period"
        )
