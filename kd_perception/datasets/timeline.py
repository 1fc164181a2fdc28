"""Every moment at which a nuScenes-format rig took images, keyframes and those between them, in time order.

Cameras of a rig fire at their own times: a moment is an exposure of the anchor camera, with each other camera's
exposure nearest to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.datasets.nuscenes import ANCHOR, CAMERA_CHANNELS, Frame, camera_image, ego_pose, load_frame

if TYPE_CHECKING:
    from nuscenes import NuScenes

TOLERANCE_US = 60_000  # an exposure further from the anchor's belongs to another moment


@dataclass(frozen=True)
class CameraTimeline:
    """The moments of one scene, oldest first.

    stamps_us (F,) int64: exposures of the anchor camera; samples (F): token of the keyframe's sample, '' between
    keyframes; exposures (F): sample_data tokens in rig order, cameras without one near enough left out.
    """

    nusc: "NuScenes" = field(repr=False)
    scene: str
    stamps_us: np.ndarray = field(repr=False)
    samples: tuple[str, ...] = field(repr=False)
    exposures: tuple[tuple[str, ...], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    def frame(self, index: int) -> Frame:
        """The moment's images and poses; between keyframes `sample_token` is ''."""
        if self.samples[index]:
            return load_frame(self.nusc, self.samples[index])
        tokens = self.exposures[index]
        anchor = self.nusc.get("sample_data", tokens[0])
        return Frame(
            sample_token="",
            scene=self.scene,
            timestamp_us=anchor["timestamp"],
            global_from_ego=ego_pose(self.nusc, anchor),
            images=tuple(camera_image(self.nusc, token) for token in tokens),
        )

    def earlier(self, timestamp_us: int, shortest_s: float, longest_s: float) -> np.ndarray:
        """Indices of the moments `shortest_s` to `longest_s` seconds before `timestamp_us` (2 ms of slack)."""
        age_s = (timestamp_us - self.stamps_us) / 1e6
        return np.flatnonzero((age_s >= shortest_s - 2e-3) & (age_s <= longest_s + 2e-3))


def camera_timelines(
    nusc: "NuScenes", scenes: Sequence[str], channels: Sequence[str] = CAMERA_CHANNELS
) -> dict[str, CameraTimeline]:
    """The timeline of each of the named scenes; one pass over the tables, by time stamps (links may be missing)."""
    names = {row["token"]: row["name"] for row in nusc.scene if row["name"] in set(scenes)}
    scene_of_sample = {row["token"]: names.get(row["scene_token"]) for row in nusc.sample}
    rows: dict[str, dict[str, list[dict]]] = {scene: {channel: [] for channel in channels} for scene in scenes}
    for row in nusc.sample_data:
        scene = scene_of_sample.get(row["sample_token"])
        if scene is not None and row["channel"] in rows[scene]:
            rows[scene][row["channel"]].append(row)
    return {scene: _timeline(nusc, scene, exposures) for scene, exposures in rows.items()}


def _timeline(nusc: "NuScenes", scene: str, exposures: dict[str, list[dict]]) -> CameraTimeline:
    for rows in exposures.values():
        rows.sort(key=lambda row: row["timestamp"])
    stamps = {channel: np.array([row["timestamp"] for row in rows], np.int64) for channel, rows in exposures.items()}
    anchors = exposures[ANCHOR]
    moments = []
    for row in anchors:
        tokens = [row["token"]]
        for channel, times in stamps.items():
            if channel == ANCHOR or not len(times):
                continue
            nearest = int(np.abs(times - row["timestamp"]).argmin())
            if abs(times[nearest] - row["timestamp"]) <= TOLERANCE_US:
                tokens.append(exposures[channel][nearest]["token"])
        moments.append(tuple(tokens))
    samples = tuple(row["sample_token"] if row["is_key_frame"] else "" for row in anchors)
    return CameraTimeline(nusc, scene, stamps[ANCHOR], samples, tuple(moments))
