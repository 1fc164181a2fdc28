"""A look at a run's data before its first step, so that what would fail or teach nothing later is told at once."""

from collections.abc import Sequence

from kd_perception.datasets.nothing_counts import grid_reach, why_nothing_counts
from kd_perception.datasets.nuscenes import read_lidar
from kd_perception.errors import DataError
from kd_perception.geometry.grid import BevGrid
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


def check_boxes(frames: Sequence[TrainingFrame], grid: BevGrid) -> list[str]:
    """Raise DataError, with the cause, if no keyframe has a box to learn on the grid.

    Otherwise returns a sentence for each data set that has none: there a run learns only what is no object.
    """
    sentences, data_sets = [], {}
    for frame in frames:
        data_sets.setdefault((frame.nusc.dataroot, frame.nusc.version), []).append(frame)
    for mine in data_sets.values():
        if any(grid.holds(frame.boxes.center[:, :2]).any() for frame in mine):
            continue
        tokens = [frame.frame.sample_token for frame in mine]
        sentences.append(why_nothing_counts(mine[0].nusc, tokens, mine[0].boxes.classes, grid_reach(grid)))
    if len(sentences) == len(data_sets):
        raise DataError(sentences[0])
    return sentences
