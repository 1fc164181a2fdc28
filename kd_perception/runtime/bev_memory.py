"""Temporal memory of a student, without ROS: a time-stamped ring of earlier BEV features, and how they are warped.

Everything happens in the odom frame (REP-105: continuous, it may drift but does not jump); map jumps whenever a
localisation corrects itself. What breaks continuity empties the memory, with a sentence why.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from kd_perception.engines.protocol import Tensor, keep
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply, invert
from kd_perception.student.spec import MEMORY_INPUTS, MemorySpec

MEMORY_NONE, MEMORY_EMPTY, MEMORY_USED = "none", "empty", "used"  # as kd_msgs/FrameStatus names them
STARTED = "the first frame since the model was loaded"
SLACK_S = 0.01  # stamps of a camera's frames jitter
SPACING = 0.1  # of the best interval: entries nearer to each other serve alike
MAX_SPEED = 60.0  # metres per second: no robot of this project's kind is faster
MAX_ACCELERATION = 10.0  # metres per second squared, in any direction: full braking
STEADY_S = 0.1  # the velocity between two poses may be as old as this
MAX_TURN_RATE = 4.0  # radians per second
JUMP_METRES, JUMP_RADIANS = 1.0, 0.2  # beyond what those limits explain


def warp_table(grid: BevGrid, previous_from_current: np.ndarray) -> np.ndarray:
    """Where each cell of the current frame lies in the previous frame's grid: (rows, columns, 2) float32.

    Coordinates (x, y) as GridSample takes them (align_corners 0): -1 and 1 are the outer edges of the grid's first and
    last cells; what is outside is sampled as zero. `previous_from_current` (4, 4) is the ego motion; cells lie on the
    ground (z = 0). A feature of the static scene then keeps its place while the ego moves and turns.
    """
    xy = grid.centers()
    points = np.concatenate([xy, np.zeros((*xy.shape[:2], 1))], axis=-1)
    rows, columns = grid.shape
    cells = grid.to_cells(apply(previous_from_current, points)[..., :2])
    return (2.0 * cells / [columns, rows] - 1.0).astype(np.float32)


def empty_memory(memory: MemorySpec, grid: BevGrid) -> dict[str, Tensor]:
    """The inputs that mean no memory; read-only, so that an engine may take them as constants."""
    arrays = (
        np.zeros(memory.shape(grid), np.float32),
        np.zeros((*grid.shape, 2), np.float32),
        np.zeros(1, np.float32),
        np.full(1, memory.interval_s, np.float32),  # finite: the network divides by it
    )
    for array in arrays:
        array.flags.writeable = False
    return dict(zip(MEMORY_INPUTS, arrays, strict=True))


def memory_inputs(grid: BevGrid, feature: Tensor, previous_from_current: np.ndarray, age_s: float) -> dict[str, Tensor]:
    """The inputs of a memory: features `age_s` seconds old, and the ego motion (4, 4) since then."""
    arrays = (feature, warp_table(grid, previous_from_current), np.ones(1, np.float32), np.full(1, age_s, np.float32))
    return dict(zip(MEMORY_INPUTS, arrays, strict=True))


@dataclass(frozen=True)
class Recall:
    """What is remembered for a frame: inputs by name (MEMORY_INPUTS), a MEMORY_ state, and why it is empty or was
    emptied before this frame."""

    inputs: dict[str, Tensor]
    state: str
    reset_reason: str


@dataclass(frozen=True)
class _Pose:
    """Ego in odom at a stamp; velocity (3,) m/s since the pose before, None for the first."""

    stamp_ns: int
    odom_from_base: np.ndarray
    velocity: np.ndarray | None


@dataclass(frozen=True)
class _Entry:
    stamp_ns: int
    odom_from_base: np.ndarray
    feature: Tensor


class BevMemory:
    """Ring of a student's BEV features. For every frame, in order: `recall`, run the engine, `remember`.

    It holds only what can still be asked for, a dozen entries at most at a steady rate: none that a younger one near
    the best interval replaces, and none closer than `SPACING` of that interval to the one before. Features are held as
    the engine gives them: arrays are copied, handles on a device stay there.
    """

    def __init__(self, memory: MemorySpec, grid: BevGrid) -> None:
        self._spec, self._grid = memory, grid
        self._empty = empty_memory(memory, grid)
        self._entries: deque[_Entry] = deque(maxlen=int(memory.longest_s / (SPACING * memory.interval_s)) + 2)
        self._last: _Pose | None = None
        self._reason = STARTED

    def __len__(self) -> int:
        return len(self._entries)

    def reset(self, reason: str) -> None:
        """Forget everything; the next `recall` reports the reason."""
        self._entries.clear()
        self._last = None
        self._reason = reason

    def recall(self, stamp_ns: int, odom_from_base: np.ndarray | None) -> Recall:
        """The memory for a frame at `stamp_ns` with ego at `odom_from_base` (4, 4), None if odometry does not know.

        The entry nearest in age to the best interval, of those within the trained ones. Empties itself when the stamp
        does not rise, after a gap longer than the longest interval, and when the pose jumps further than speed and
        acceleration of a robot explain. Without a pose this frame gets no memory, but the memory is kept.
        """
        if odom_from_base is None or not np.isfinite(odom_from_base).all():
            return self._nothing("no odometry pose at this frame's time")
        broken = self._break(stamp_ns, odom_from_base)
        if broken:
            self.reset(broken)
        self._last = self._moved(stamp_ns, odom_from_base)
        ages = np.array([(stamp_ns - entry.stamp_ns) / 1e9 for entry in self._entries])
        fit = np.flatnonzero((ages >= self._spec.shortest_s - SLACK_S) & (ages <= self._spec.longest_s + SLACK_S))
        if not len(fit):
            return self._nothing(
                f"no remembered frame is {self._spec.shortest_s:.2f} to {self._spec.longest_s:.2f} s old"
            )
        chosen = int(fit[np.abs(ages[fit] - self._spec.interval_s).argmin()])
        entry = self._entries[chosen]
        motion = invert(entry.odom_from_base) @ odom_from_base
        reason, self._reason = self._reason, ""
        return Recall(memory_inputs(self._grid, entry.feature, motion, ages[chosen]), MEMORY_USED, reason)

    def remember(self, stamp_ns: int, odom_from_base: np.ndarray | None, feature: Tensor) -> None:
        """Keep this frame's features, unless the last ones are so near in time that they serve as well."""
        if odom_from_base is None or not np.isfinite(odom_from_base).all():
            return
        spacing_ns = int(1e9 * (SPACING * self._spec.interval_s - SLACK_S))
        if self._entries and stamp_ns - self._entries[-1].stamp_ns < spacing_ns:
            return
        self._entries.append(_Entry(stamp_ns, odom_from_base.copy(), keep(feature)))
        best_ns = int(1e9 * self._spec.interval_s)
        while len(self._entries) > 1 and stamp_ns - self._entries[1].stamp_ns >= best_ns:
            self._entries.popleft()  # the second is at least as old as the best: the first is never nearer again

    def _nothing(self, why: str) -> Recall:
        reason, self._reason = self._reason or why, ""
        return Recall(self._empty, MEMORY_EMPTY, reason)

    def _break(self, stamp_ns: int, odom_from_base: np.ndarray) -> str:
        """Why this frame does not continue the last; '' if it does."""
        last = self._last
        if last is None:
            return ""
        elapsed = (stamp_ns - last.stamp_ns) / 1e9
        if elapsed == 0.0:
            return "a frame with the same stamp came again"
        if elapsed < 0.0:
            return f"time went back by {-elapsed:.3f} s"
        if elapsed > self._spec.longest_s + SLACK_S:
            return f"no frame with a pose for {elapsed:.2f} s, memory reaches back {self._spec.longest_s:.2f} s"
        moved = odom_from_base[:3, 3] - last.odom_from_base[:3, 3]
        if last.velocity is None:
            surprise, explained = float(np.linalg.norm(moved)), MAX_SPEED * elapsed
        else:
            surprise = float(np.linalg.norm(moved - last.velocity * elapsed))
            explained = MAX_ACCELERATION * elapsed * max(elapsed, STEADY_S)
        if surprise > explained + JUMP_METRES:
            return f"the pose jumped: {surprise:.1f} m from where {elapsed:.3f} s of driving explain {explained:.1f} m"
        rotation = last.odom_from_base[:3, :3].T @ odom_from_base[:3, :3]
        turned = float(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0)))
        if turned > MAX_TURN_RATE * elapsed + JUMP_RADIANS:
            return f"the pose jumped: it turned by {np.degrees(turned):.0f} degrees within {elapsed:.3f} s"
        return ""

    def _moved(self, stamp_ns: int, odom_from_base: np.ndarray) -> _Pose:
        last = self._last
        if last is None:
            return _Pose(stamp_ns, odom_from_base.copy(), None)
        moved = odom_from_base[:3, 3] - last.odom_from_base[:3, 3]
        return _Pose(stamp_ns, odom_from_base.copy(), moved / ((stamp_ns - last.stamp_ns) / 1e9))
