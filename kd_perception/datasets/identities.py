"""Digests of what a detector or a teacher reads of keyframes: what was computed from other data is not taken for it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from kd_perception.datasets.tables import Tables


def keyframe_digest(nusc: Tables, samples: Sequence[str], *, cameras: bool) -> str:
    """Of the cameras of keyframes, or else of their LiDARs: times, calibration, poses and sizes of files.

    The bytes of each sensor's first file stand for all: a set that was made again has others.
    """
    digest, seen = hashlib.sha256(), set()
    for token in samples:
        rig, rows = nusc.rig_of(token), nusc.key_rows(token)
        digest.update(token.encode())
        for channel in rig.cameras if cameras else rig.lidars:
            if channel not in rows:
                continue
            row = nusc.sample_data[rows[channel]]
            path = Path(nusc.dataroot) / row["filename"]
            there = path.is_file()
            mounting = nusc.get("calibrated_sensor", row["calibrated_sensor_token"])
            pose = nusc.get("ego_pose", row["ego_pose_token"])
            placed = [_placed(mounting), mounting.get("camera_intrinsic"), mounting.get("distortion"), _placed(pose)]
            digest.update(repr([channel, row["timestamp"], path.stat().st_size if there else -1, placed]).encode())
            if there and channel not in seen:
                seen.add(channel)
                digest.update(path.read_bytes())
    return digest.hexdigest()


def label_digest(nusc: Tables, samples: Sequence[str]) -> str:
    """Of the annotations of keyframes: categories and boxes."""
    digest = hashlib.sha256()
    for token in samples:
        rows = [nusc.get("sample_annotation", name) for name in nusc.get("sample", token)["anns"]]
        digest.update(repr(sorted((row["category_name"], row["size"], *_placed(row)) for row in rows)).encode())
    return digest.hexdigest()


def _placed(row: dict) -> tuple[list[float], list[float]]:
    return row["translation"], row["rotation"]
