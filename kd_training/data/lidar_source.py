"""A keyframe's LiDAR as training needs it: returns per camera, and the teacher's cloud. Files are read once, derived
arrays are kept within one budget."""

from functools import cached_property
from operator import attrgetter

import numpy as np
from cachetools import LRUCache, cachedmethod

from kd_perception.datasets.nuscenes import read_lidar
from kd_perception.errors import DataError
from kd_perception.geometry.grid import BevGrid
from kd_training.config.teacher import TeacherModelConfig
from kd_training.data.camera_returns import CameraReturns, project_returns
from kd_training.data.frames import TrainingFrame
from kd_training.data.older_sweeps import older_sweeps
from kd_training.data.points import augment_points, merge_sweeps
from kd_training.data.virtual_points import virtual_points


class LidarSource:
    """Camera returns of keyframes, and their clouds as `teacher` was trained with them.

    Derived arrays stay in memory up to `cache_bytes`; the least recently used ones go first. In addition the last
    keyframe's own sweeps stay, so that all that is derived from them in a row shares one read.
    """

    def __init__(self, cache_bytes: int, teacher: TeacherModelConfig | None = None) -> None:
        self.teacher = teacher
        self._cache: LRUCache = LRUCache(cache_bytes, getsizeof=_nbytes)
        self._last: _OwnSweep | None = None

    @property
    def grid(self) -> BevGrid:
        """The teacher's BEV grid, to which `augmented` cuts clouds."""
        return BevGrid.square(self.teacher.grid.extent, self.teacher.grid.cell_size)

    @cachedmethod(attrgetter("_cache"), key=lambda self, frame: ("returns", frame.key))
    def returns(self, frame: TrainingFrame) -> tuple[CameraReturns, ...]:
        """The keyframe's own returns, per camera; raises DataError naming a file that is missing or cut."""
        return self._own(frame).returns

    @cachedmethod(attrgetter("_cache"), key=lambda self, frame: ("cloud", frame.key))
    def cloud(self, frame: TrainingFrame) -> np.ndarray:
        """Points (P, 5 or 6) of a keyframe in ego, as PointBatch says: the same every time. Do not write into it.

        Raises DataError naming a file that is missing, cut or empty. Where the recording has fewer sweeps than
        configured, the cloud has fewer.
        """
        own, config = self._own(frame), self.teacher.points
        older = [(row, read_lidar(frame.nusc, row)) for row in older_sweeps(frame, config.sweeps - 1)]
        points = merge_sweeps(frame, [*zip(frame.lidars, own.points, strict=True), *older], self.teacher)
        if config.virtual.per_instance:
            added = virtual_points(frame, own.returns, config.virtual)
            points = np.concatenate([np.pad(points, ((0, 0), (0, 1))), added])
        return np.ascontiguousarray(points, np.float32)

    def augmented(self, frame: TrainingFrame, target_from_ego: np.ndarray) -> np.ndarray:
        """The keyframe's cloud under an augmentation (4, 4): a function of these two and nothing else."""
        return augment_points(self.cloud(frame), target_from_ego, self.grid)

    def _own(self, frame: TrainingFrame) -> "_OwnSweep":
        if not frame.lidar:
            raise DataError(
                f"sample {frame.frame.sample_token} has no LiDAR in its tables; a teacher needs one, and so does a "
                "student unless loss.depth is 0"
            )
        if self._last is None or self._last.frame.key != frame.key:
            self._last = _OwnSweep(frame)
        return self._last


class _OwnSweep:
    """A keyframe's own sweeps, and their returns per camera: each computed once, on demand."""

    def __init__(self, frame: TrainingFrame) -> None:
        self.frame = frame

    @cached_property
    def points(self) -> list[np.ndarray]:
        """The points (P, 5) of each LiDAR, in its frame."""
        return [read_lidar(self.frame.nusc, row) for row in self.frame.lidars]

    @cached_property
    def returns(self) -> tuple[CameraReturns, ...]:
        return project_returns(self.frame, self.points)


def _nbytes(derived: np.ndarray | tuple[CameraReturns, ...]) -> int:
    """Bytes of a cloud, or of the returns of all cameras."""
    return sum(part.nbytes for part in derived) if isinstance(derived, tuple) else derived.nbytes
