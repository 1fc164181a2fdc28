"""Which frame hangs on which: always a tree (REP-105), whoever keeps the transforms. ROS-free."""

from kd_perception.errors import CalibrationError


class TransformError(CalibrationError):
    """A transform is missing, outside the known times, or would break the tree."""


class FrameTree:
    """Parents of frames. Not thread-safe."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def hang(self, parent: str, child: str) -> bool:
        """Hang a frame on another; True if it hung elsewhere. Raises TransformError if that would close a cycle."""
        if child == parent:
            raise TransformError(f"tf {parent} -> {child} would close a cycle of one frame; check its publisher")
        if child in self._upwards(parent):
            raise TransformError(
                f"tf {parent} -> {child} would close a cycle: {parent} already hangs below {child}; remove one of them"
            )
        before, self._parents[child] = self._parents.get(child, parent), parent
        return before != parent

    def link(self, child: str) -> str:
        """A frame and its parent, as sentences name them."""
        return f"{self._parents[child]} -> {child}"

    def take_off(self, child: str) -> None:
        """Forget on what a frame hangs."""
        self._parents.pop(child, None)

    def ways(self, target: str, source: str) -> tuple[list[str], list[str]]:
        """The frames from `target`, and from `source`, up to the first common one, without that.

        Raises TransformError if a frame is unknown or they are in separate trees.
        """
        for frame in (target, source):
            if frame not in self._parents and frame not in self._parents.values():
                raise TransformError(f"frame '{frame}' is unknown to tf; publish it on /tf or /tf_static")
        up_target, up_source = self._upwards(target), self._upwards(source)
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            raise TransformError(
                f"tf has no connection between '{target}' and '{source}', which are in separate trees; publish the link"
            )
        return up_target[: up_target.index(common)], up_source[: up_source.index(common)]

    def _upwards(self, frame: str) -> list[str]:
        """A frame, its parent, and so on to the root."""
        found = [frame]
        while found[-1] in self._parents:
            found.append(self._parents[found[-1]])
        return found
