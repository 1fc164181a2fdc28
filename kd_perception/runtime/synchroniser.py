"""Which images belong together: the anchor camera triggers, others join within a tolerance, a deadline bounds it.

ROS-free and clock-free: stamps and the steady time of arrival come in with each call, so that every decision can be
tested. A camera's period may be shorter than the tolerance, so its first image within it need not be the nearest: an
image older than the anchor's only counts as final when, at the camera's own period, the next one cannot be nearer.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kd_perception.runtime.frame import FrameRecord

Image = TypeVar("Image")

HISTORY = 16  # images kept per camera, more than any tolerance needs
PERIODS = 8  # intervals from which a camera's period is taken (the shortest: lost images only lengthen them)


@dataclass(frozen=True)
class SyncResult(Generic[Image]):
    """What one call led to: frames ready to be processed, in stamp order, and what was thrown away and why."""

    frames: tuple[FrameRecord[Image], ...] = ()
    late: int = 0  # images not newer than their camera's last, ignored
    late_reason: str = ""  # a sentence about such an image
    refused: tuple[FrameRecord[Image], ...] = ()  # frames that such an image of the anchor would have started
    flushed: tuple[FrameRecord[Image], ...] = ()  # frames that waited when time jumped back: they are dropped
    reset_reason: str = ""
    newest_ns: int = 0  # with a reset_reason: the stamp that went back, of the time that has begun


class Synchroniser(Generic[Image]):
    """Groups images by the anchor's stamp. Camera 0 is the anchor. Not thread-safe."""

    def __init__(self, cameras: Sequence[str], tolerance_ns: int = 60_000_000, deadline_s: float = 0.1) -> None:
        """`tolerance_ns`: greatest distance from the anchor's stamp; `deadline_s`: longest wait once that came.

        Raises ValueError if there is no camera or a limit is negative.
        """
        if not cameras or tolerance_ns < 0 or deadline_s < 0:
            raise ValueError(
                f"a synchroniser needs a camera and limits >= 0, got {list(cameras)}, {tolerance_ns} ns, {deadline_s} s"
            )
        self.cameras = tuple(cameras)
        self.tolerance_ns = tolerance_ns
        self.deadline_s = deadline_s
        self._images: list[deque[tuple[int, Image]]] = [deque(maxlen=HISTORY) for _ in cameras]
        self._intervals: list[deque[int]] = [deque(maxlen=PERIODS) for _ in cameras]
        self._pending: deque[FrameRecord[Image]] = deque()  # frames that wait, with the anchor's image only

    def add(self, camera: int, stamp_ns: int, image: Image, now_s: float) -> SyncResult[Image]:
        """Take one image at steady time `now_s`. A stamp far behind its camera's last flushes all: time jumped back."""
        reset_reason, flushed = "", ()
        if self._images[camera] and stamp_ns <= self._images[camera][-1][0]:
            back_ns = self._images[camera][-1][0] - stamp_ns
            if back_ns <= self.tolerance_ns:
                refused = (FrameRecord(stamp_ns, now_s),) if camera == 0 else ()
                return SyncResult(self._ready(now_s), 1, self._late_reason(camera, stamp_ns, back_ns), refused)
            reset_reason = f"the stamps of camera '{self.cameras[camera]}' went back by {back_ns / 1e9:.3f} s"
            flushed = self.flush()
        if self._images[camera]:
            self._intervals[camera].append(stamp_ns - self._images[camera][-1][0])
        self._images[camera].append((stamp_ns, image))
        if camera == 0:
            self._pending.append(FrameRecord(stamp_ns, now_s, (image,)))
        return SyncResult(self._ready(now_s), flushed=flushed, reset_reason=reset_reason, newest_ns=stamp_ns)

    def _late_reason(self, camera: int, stamp_ns: int, back_ns: int) -> str:
        where = f"camera '{self.cameras[camera]}'"
        if back_ns == 0:
            return f"{where}: several images have the stamp {stamp_ns / 1e9:.6f} s; let its driver stamp each exposure"
        return f"{where}: an image is {back_ns / 1e6:.1f} ms older than the one before it; it came out of order"

    def poll(self, now_s: float) -> SyncResult[Image]:
        """Frames whose deadline has passed; call it regularly, for a camera that fails sends nothing."""
        return SyncResult(self._ready(now_s))

    def flush(self, after_ns: int | None = None) -> tuple[FrameRecord[Image], ...]:
        """Forget the images of a time that has ended, with a stamp after `after_ns` (None: all of them); returns the
        frames that still waited."""
        ended = tuple(record for record in self._pending if after_ns is None or record.stamp_ns > after_ns)
        self._pending = deque(record for record in self._pending if record not in ended)
        for images, intervals in zip(self._images, self._intervals, strict=True):
            if images and (after_ns is None or images[-1][0] > after_ns):  # stamps rise: the others are older still
                images.clear()
                intervals.clear()
        return ended

    def _ready(self, now_s: float) -> tuple[FrameRecord[Image], ...]:
        """Pop pending anchors that need not wait: all cameras settled, deadline over, or a newer anchor there."""
        frames = []
        while self._pending:
            record = self._pending[0]
            superseded = len(self._pending) > 1
            settled = all(self._settled(camera, record.stamp_ns) for camera in range(1, len(self.cameras)))
            if not (settled or superseded or now_s - record.arrival_s >= self.deadline_s):
                break
            self._join(record)
            frames.append(self._pending.popleft())
        return tuple(frames)

    def _settled(self, camera: int, stamp_ns: int) -> bool:
        """Whether no image of this camera still to come can be nearer to the anchor than the nearest one here."""
        nearest = self._nearest(camera, stamp_ns)
        if nearest is None:
            return (
                bool(self._images[camera]) and self._images[camera][-1][0] > stamp_ns
            )  # it has passed without an image near enough
        if self._images[camera][-1][0] >= stamp_ns:
            return True
        period = min(self._intervals[camera], default=self.tolerance_ns)
        return stamp_ns - nearest[0] <= period // 2

    def _nearest(self, camera: int, stamp_ns: int) -> tuple[int, Image] | None:
        """The camera's image nearest to a stamp and within the tolerance."""
        near = [entry for entry in self._images[camera] if abs(entry[0] - stamp_ns) <= self.tolerance_ns]
        return min(near, key=lambda entry: abs(entry[0] - stamp_ns), default=None)

    def _join(self, record: FrameRecord[Image]) -> None:
        """Add the other cameras' images to the anchor's."""
        nearest = [self._nearest(camera, record.stamp_ns) for camera in range(1, len(self.cameras))]
        record.messages += tuple(None if entry is None else entry[1] for entry in nearest)
        record.ages_ns = (0, *(None if entry is None else record.stamp_ns - entry[0] for entry in nearest))
