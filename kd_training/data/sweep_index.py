"""Which LiDAR sweeps of a scene precede a keyframe."""

from collections import defaultdict

from nuscenes import NuScenes

from kd_perception.datasets.nuscenes import LIDAR
from kd_training.data.frames import TrainingFrame

OLDEST_S = 1.5  # a sweep older than this is of another drive, or of a gap in the recording


class SweepIndex:
    """LiDAR rows of data sets by scene and time; a data set's tables are searched once."""

    def __init__(self) -> None:
        self._scenes: dict[str, dict[str, list[dict]]] = {}

    def before(self, frame: TrainingFrame, count: int) -> list[dict]:
        """At most `count` sample_data rows of the frame's scene before its own sweep, newest first."""
        root = f"{frame.nusc.dataroot}/{frame.nusc.version}"
        if root not in self._scenes:
            self._scenes[root] = _rows_of_scenes(frame.nusc)
        stamp = frame.lidar["timestamp"]
        rows = self._scenes[root][frame.frame.scene]
        older = [row for row in rows if stamp - 1e6 * OLDEST_S < row["timestamp"] < stamp]
        return older[::-1][:count]


def _rows_of_scenes(nusc: NuScenes) -> dict[str, list[dict]]:
    """All LiDAR rows of each scene, by name, oldest first; by time stamps, because links may be missing."""
    scene_of = {row["token"]: row["name"] for row in nusc.scene}
    sample_scene = {row["token"]: scene_of.get(row["scene_token"]) for row in nusc.sample}
    rows = defaultdict(list)
    for row in nusc.sample_data:
        if row["channel"] == LIDAR:
            rows[sample_scene.get(row["sample_token"])].append(row)
    for scene in rows.values():
        scene.sort(key=lambda row: row["timestamp"])
    return dict(rows)
