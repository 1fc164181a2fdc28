"""Transforms over time, as tf2 keeps them, without ROS: interpolation, static edges, always a tree (REP-105)."""

import threading
from bisect import bisect_left, insort
from dataclasses import dataclass, field

import numpy as np

from kd_perception.geometry.transforms import interpolate, invert
from kd_perception.ros.frame_tree import FrameTree, TransformError


def _read_only(transform: np.ndarray) -> np.ndarray:
    """A copy that nobody can change: lookups hand out what is kept."""
    kept = np.array(transform, dtype=np.float64)
    kept.flags.writeable = False
    return kept


_IDENTITY = _read_only(np.eye(4))


def check_finite(parent: str, child: str, parent_from_child: np.ndarray) -> None:
    """Raise TransformError if a transform (4, 4) has values that are not finite."""
    if not np.isfinite(parent_from_child).all():
        raise TransformError(f"tf {parent} -> {child} has values that are not finite; check its publisher")


def check_not_after(link: str, stamp_ns: int, newest_ns: int) -> None:
    """Raise TransformError if a time lies after the newest transform of a link."""
    if stamp_ns > newest_ns:
        raise TransformError(
            f"tf {link} is not known at {stamp_ns / 1e9:.3f} s, {(stamp_ns - newest_ns) / 1e9:.3f} s after the newest "
            "transform received; check that it is published in time"
        )


@dataclass
class _Edge:
    """A frame's parent and `parent_from_child` over time, stamps rising; a static edge has one entry for all times."""

    parent: str
    static: bool
    stamps_ns: list[int] = field(default_factory=list)
    transforms: dict[int, np.ndarray] = field(default_factory=dict)


class TransformBuffer:
    """A bounded history of a tree of frames. Thread-safe."""

    def __init__(self, history_s: float = 10.0) -> None:
        """Keep `history_s` seconds before each edge's newest transform."""
        self._history_ns = int(history_s * 1e9)
        self._edges: dict[str, _Edge] = {}
        self._tree = FrameTree()
        self._lock = threading.Lock()

    def set_transform(
        self, parent: str, child: str, stamp_ns: int, parent_from_child: np.ndarray, *, static: bool = False
    ) -> None:
        """Add one transform. A child that gets another parent, or a stamp from before its history, starts over.

        Raises TransformError if the matrix is not finite or the edge would close a cycle; the buffer is then unchanged.
        """
        check_finite(parent, child, parent_from_child)
        with self._lock:
            self._tree.hang(parent, child)
            edge = self._edges.get(child)
            looped = edge is not None and stamp_ns < edge.stamps_ns[-1] - self._history_ns
            if edge is None or edge.parent != parent or edge.static != static or static or looped:
                edge = self._edges[child] = _Edge(parent, static)
            if stamp_ns not in edge.transforms:
                insort(edge.stamps_ns, stamp_ns)
            edge.transforms[stamp_ns] = _read_only(parent_from_child)
            oldest = edge.stamps_ns[-1] - self._history_ns
            while edge.stamps_ns[0] < oldest:
                del edge.transforms[edge.stamps_ns.pop(0)]

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """`target_from_source` (4, 4) at a time, the same object again for a single static edge.

        Raises TransformError: what is missing, or how far out of range.
        """
        with self._lock:
            up_target, up_source = self._tree.ways(target, source)
            common_from_source = self._climb(up_source, stamp_ns)
            common_from_target = self._climb(up_target, stamp_ns)
        if common_from_target is _IDENTITY:
            return common_from_source
        return invert(common_from_target) @ common_from_source

    def forget_after(self, stamp_ns: int) -> None:
        """Forget what is known of later times (static edges stay), as when the clock has gone back there."""
        with self._lock:
            for child, edge in list(self._edges.items()):
                while not edge.static and edge.stamps_ns and edge.stamps_ns[-1] > stamp_ns:
                    del edge.transforms[edge.stamps_ns.pop()]
                if not edge.stamps_ns:
                    del self._edges[child]
                    self._tree.take_off(child)

    def _climb(self, frames: list[str], stamp_ns: int) -> np.ndarray:
        """Transform from the first of a chain of frames to the last one's parent."""
        transform = _IDENTITY
        for frame in frames:
            step = self._at(frame, stamp_ns)
            transform = step if transform is _IDENTITY else step @ transform
        return transform

    def _at(self, child: str, stamp_ns: int) -> np.ndarray:
        """`parent_from_child` of one edge at a time."""
        edge = self._edges[child]
        if edge.static:
            return edge.transforms[edge.stamps_ns[0]]
        if stamp_ns in edge.transforms:
            return edge.transforms[stamp_ns]
        first, last = edge.stamps_ns[0], edge.stamps_ns[-1]
        check_not_after(self._tree.link(child), stamp_ns, last)
        if stamp_ns < first:
            raise TransformError(
                f"tf {self._tree.link(child)} is not known at {stamp_ns / 1e9:.3f} s, {(first - stamp_ns) / 1e9:.3f} s "
                "before the oldest transform received; check that it is published in time"
            )
        index = bisect_left(edge.stamps_ns, stamp_ns)
        before, after = edge.stamps_ns[index - 1], edge.stamps_ns[index]
        return interpolate(edge.transforms[before], edge.transforms[after], (stamp_ns - before) / (after - before))
