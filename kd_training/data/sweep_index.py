"""Which LiDAR sweeps of a scene precede a keyframe."""

from collections import defaultdict

from nuscenes import NuScenes

from kd_training.data.frames import TrainingFrame

OLDEST_S = 1.5  # a sweep older than this is of another drive, or of a gap in the recording


class SweepIndex:
    """LiDAR rows of data sets by scene, channel and time; a data set's tables are searched once."""

    def __init__(self) -> None:
        self._scenes: dict[str, dict[tuple[str, str], list[dict]]] = {}

    def before(self, frame: TrainingFrame, count: int) -> list[dict]:
        """Of each LiDAR at most `count` sample_data rows of the frame's scene before its own sweep, newest first.

        Before the frame's first sweep for a LiDAR that has none at this keyframe.
        """
        root = f"{frame.nusc.dataroot}/{frame.nusc.version}"
        if root not in self._scenes:
            self._scenes[root] = _rows_of_scenes(frame.nusc)
        own = {row["channel"]: row["timestamp"] for row in frame.lidars}
        older = []
        for channel in frame.nusc.rig_of(frame.frame.sample_token).lidars:
            stamp = own.get(channel, frame.lidar["timestamp"])
            rows = self._scenes[root].get((frame.frame.scene, channel), ())
            before = [row for row in rows if stamp - 1e6 * OLDEST_S < row["timestamp"] < stamp]
            older += before[::-1][:count]
        return older


def _rows_of_scenes(nusc: NuScenes) -> dict[tuple[str, str], list[dict]]:
    """The rows of each scene and LiDAR, by names, oldest first; by time stamps, because links may be missing."""
    scene_of = {row["token"]: row["name"] for row in nusc.scene}
    sample_scene = {row["token"]: scene_of.get(row["scene_token"]) for row in nusc.sample}
    rows = defaultdict(list)
    for row in nusc.sample_data:
        if row["sensor_modality"] == "lidar":
            rows[sample_scene.get(row["sample_token"]), row["channel"]].append(row)
    for scene in rows.values():
        scene.sort(key=lambda row: row["timestamp"])
    return dict(rows)
