"""Which LiDAR sweeps of a scene precede a keyframe."""

from kd_perception.teacher.spec import OLDEST_S
from kd_training.data.frames import TrainingFrame


def older_sweeps(frame: TrainingFrame, count: int) -> list[dict]:
    """Of each LiDAR at most `count` sample_data rows of the frame's scene before its own sweep, newest first.

    Before the frame's first sweep for a LiDAR that has none at this keyframe. By time stamps: links may be missing.
    """
    nusc, scene = frame.nusc, frame.nusc.get("sample", frame.frame.sample_token)["scene_token"]
    own = {row["channel"]: row["timestamp"] for row in frame.lidars}
    older = []
    for channel in nusc.rigs[scene].lidars:
        stamp = own.get(channel, frame.lidar["timestamp"])
        rows = nusc.exposures(scene, channel)
        stamps = nusc.index["sample_data.stamp"][rows]
        before = rows[(stamp - 1e6 * OLDEST_S < stamps) & (stamps < stamp)]
        older += [nusc.sample_data[int(row)] for row in before[::-1][:count]]
    return older
