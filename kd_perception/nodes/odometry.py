"""Watches odometry: REP-105 promises a continuous odom frame; whoever remembers the past must know when that breaks."""

import numpy as np

JUMP_METRES = 2.0  # further than the reported speed explains


class OdometryWatch:
    """Finds jumps of position that the reported velocity does not explain."""

    def __init__(self) -> None:
        self._last: tuple[int, np.ndarray, float] | None = None

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of the newest odometry; None before the first."""
        return None if self._last is None else self._last[0]

    def add(self, stamp_ns: int, position: np.ndarray, speed: float) -> str:
        """Take a position (3,) in metres in odom and a speed in m/s; returns '' or a sentence why the past is void."""
        last, self._last = self._last, (stamp_ns, np.asarray(position, dtype=np.float64), abs(speed))
        if last is None:
            return ""
        elapsed = (stamp_ns - last[0]) / 1e9
        if elapsed < 0:
            return f"odometry went back by {-elapsed:.3f} s"
        moved = float(np.linalg.norm(self._last[1] - last[1]))
        explained = max(last[2], abs(speed)) * elapsed
        if not moved <= explained + JUMP_METRES:  # also when a value is not finite
            return f"odometry jumped {moved:.1f} m within {elapsed:.3f} s, where its speed explains {explained:.1f} m"
        return ""
