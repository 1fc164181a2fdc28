"""A look at a run's data before its first step, so that what would fail or teach nothing later is told at once."""

from collections.abc import Sequence

from kd_perception.datasets.nuscenes import read_lidar
from kd_training.data.frames import TrainingFrame

SCENES_READ = 64  # whose first clouds are read: a format goes for a whole recording


def check_first_clouds(frames: Sequence[TrainingFrame]) -> None:
    """Read the first cloud of every LiDAR of some scenes; raises DataError for a file that is none."""
    first: dict[tuple[str, str, str], tuple[TrainingFrame, dict]] = {}
    for frame in frames:
        for row in frame.lidars:
            first.setdefault((frame.nusc.dataroot, frame.frame.scene, row["channel"]), (frame, row))
    for frame, row in list(first.values())[:: max(1, len(first) // SCENES_READ)]:
        read_lidar(frame.nusc, row)
