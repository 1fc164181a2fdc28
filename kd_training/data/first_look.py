"""A look at a run's data before its first step, so that what would fail or teach nothing later is told at once."""

from collections.abc import Sequence

from kd_perception.datasets.nothing_counts import grid_reach, why_nothing_counts
from kd_perception.datasets.nuscenes import read_lidar
from kd_perception.errors import DataError
from kd_perception.geometry.grid import BevGrid
from kd_training.data.frames import TrainingFrame, facts_of

SCENES_READ = 64  # whose first clouds are read: a format goes for a whole recording


def check_first_clouds(frames: Sequence[TrainingFrame]) -> None:
    """Read the first cloud of every LiDAR of some scenes; raises DataError for a file that is none."""
    first: dict[tuple[str, str, str], tuple[int, str]] = {}
    for place, facts in enumerate(facts_of(frames)):
        for channel in facts.lidars:
            first.setdefault((facts.data_set, facts.scene, channel), (place, channel))
    for place, channel in list(first.values())[:: max(1, len(first) // SCENES_READ)]:
        frame = frames[place]
        read_lidar(frame.nusc, next(row for row in frame.lidars if row["channel"] == channel))


def check_boxes(frames: Sequence[TrainingFrame], grid: BevGrid) -> list[str]:
    """Raise DataError, with the cause, if no labelled keyframe has a box to learn on the grid.

    Otherwise returns a sentence for each data set that has none: there a run learns only what is no object. What a
    teacher labels was looked at when it did.
    """
    sentences, data_sets = [], {}
    for place, facts in enumerate(facts_of(frames)):
        if facts.labelled:
            data_sets.setdefault(facts.data_set, []).append(place)
    for mine in data_sets.values():
        if any(grid.holds(frames[place].boxes.center[:, :2]).any() for place in mine):
            continue
        first, tokens = frames[mine[0]], [frames[place].frame.sample_token for place in mine]
        sentences.append(why_nothing_counts(first.nusc, tokens, first.boxes.classes, grid_reach(grid)))
    if data_sets and len(sentences) == len(data_sets):
        raise DataError(sentences[0])
    return sentences
