"""Every moment at which a nuScenes-format rig took images, keyframes and those between them, in time order.

Cameras of a rig fire at their own times: a moment is an exposure of the anchor camera, with each other camera's
exposure nearest to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.datasets.nuscenes import Frame, make_frame, scene_row

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

TOLERANCE_US = 60_000  # an exposure further from the anchor's belongs to another moment
MASKED = -1


@dataclass(frozen=True)
class CameraTimeline:
    """The moments of one scene, oldest first: exposures of the anchor, and keyframes that lack it.

    stamps_us (F,) int64; samples (F): token of the sample that the moment belongs to; is_keyframe (F,) bool; exposures
    (F, cameras): numbers of sample_data rows in rig order, MASKED of cameras without one near enough.
    """

    nusc: "Tables" = field(repr=False)
    scene: str
    stamps_us: np.ndarray = field(repr=False)
    samples: tuple[str, ...] = field(repr=False)
    is_keyframe: np.ndarray = field(repr=False)
    exposures: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def cameras(self) -> int:
        """How many cameras the scene's rig has."""
        return len(self.nusc.rig_of(self.samples[0]).cameras)

    def frame(self, index: int) -> Frame:
        """The moment's images and poses; between keyframes `sample_token` is ''."""
        tokens = _tokens(self.nusc, self.exposures[index])
        return make_frame(self.nusc, self.samples[index], tokens, is_keyframe=bool(self.is_keyframe[index]))

    def earlier(self, timestamp_us: int, shortest_s: float, longest_s: float) -> np.ndarray:
        """Indices of the moments `shortest_s` to `longest_s` seconds before `timestamp_us` (2 ms of slack)."""
        age_s = (timestamp_us - self.stamps_us) / 1e6
        return np.flatnonzero((age_s >= shortest_s - 2e-3) & (age_s <= longest_s + 2e-3))


def camera_timelines(nusc: "Tables", scenes: Sequence[str]) -> dict[str, CameraTimeline]:
    """The timeline of each of the named scenes; raises DataError for a scene that is not there."""
    return {scene: camera_timeline(nusc, scene) for scene in scenes}


def camera_timeline(nusc: "Tables", scene: str) -> CameraTimeline:
    """The timeline of a scene, by time stamps (links may be missing); raises DataError if it is not there."""
    token = scene_row(nusc, scene)["token"]
    stamp_of, is_key = nusc.index["sample_data.stamp"], nusc.index["sample_data.key"]
    rows = {channel: nusc.exposures(token, channel) for channel in nusc.rigs[token].cameras}
    anchors = next(iter(rows.values()), np.zeros(0, np.int32))
    nearest = np.stack([_nearest(stamp_of[anchors], own, stamp_of[own]) for own in rows.values()] or [anchors], axis=1)
    nearest[:, 0] = anchors
    keys = is_key[anchors]
    owners = [nusc.sample[number]["token"] for number in nusc.index["sample_data.sample"][anchors]]
    for place in np.flatnonzero(keys):
        nearest[place] = _keyframe(nusc, owners[place], rows)
    stamps, keyed = stamp_of[anchors], {owners[place] for place in np.flatnonzero(keys)}
    for sample in nusc.samples_of(token):
        if sample not in keyed:
            own = _keyframe(nusc, sample, rows)
            stamp = make_frame(nusc, sample, _tokens(nusc, own)).timestamp_us
            stamps, keys, owners = np.append(stamps, stamp), np.append(keys, True), [*owners, sample]
            nearest = np.concatenate([nearest, own[None]])
    order = np.argsort(stamps, kind="stable")
    samples = tuple(owners[place] for place in order)
    return CameraTimeline(nusc, scene, stamps[order], samples, keys[order], nearest[order])


def _keyframe(nusc: "Tables", sample: str, channels: Iterable[str]) -> np.ndarray:
    rows = nusc.key_rows(sample)
    return np.array([rows.get(channel, MASKED) for channel in channels], np.int32)


def _tokens(nusc: "Tables", rows: np.ndarray) -> list[str]:
    return ["" if row == MASKED else nusc.sample_data.token(int(row)) for row in rows]


def _nearest(anchors: np.ndarray, rows: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Of each anchor's time (F,) the row whose stamp is nearest, MASKED where it belongs to another moment.

    rows (n,) with their stamps (n,), oldest first; of equally near ones the first counts.
    """
    if not len(rows):
        return np.full(len(anchors), MASKED, np.int32)
    after = np.minimum(np.searchsorted(stamps, anchors), len(stamps) - 1)
    before = np.searchsorted(stamps, stamps[np.maximum(after - 1, 0)])
    nearest = np.where(np.abs(stamps[before] - anchors) <= np.abs(stamps[after] - anchors), before, after)
    near = np.abs(stamps[nearest] - anchors) <= TOLERANCE_US
    return np.where(near, rows[nearest], MASKED).astype(np.int32)
