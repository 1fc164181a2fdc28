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


@dataclass(frozen=True)
class CameraTimeline:
    """The moments of one scene, oldest first: exposures of the anchor, and keyframes that lack it.

    stamps_us (F,) int64; samples (F): token of the sample that the moment belongs to; is_keyframe (F,) bool; exposures
    (F): sample_data tokens in rig order, '' of cameras without one near enough.
    """

    nusc: "Tables" = field(repr=False)
    scene: str
    stamps_us: np.ndarray = field(repr=False)
    samples: tuple[str, ...] = field(repr=False)
    is_keyframe: np.ndarray = field(repr=False)
    exposures: tuple[tuple[str, ...], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def cameras(self) -> int:
        """How many cameras the scene's rig has."""
        return len(self.nusc.rig_of(self.samples[0]).cameras)

    def frame(self, index: int) -> Frame:
        """The moment's images and poses; between keyframes `sample_token` is ''."""
        return make_frame(
            self.nusc, self.samples[index], self.exposures[index], is_keyframe=bool(self.is_keyframe[index])
        )

    def earlier(self, timestamp_us: int, shortest_s: float, longest_s: float) -> np.ndarray:
        """Indices of the moments `shortest_s` to `longest_s` seconds before `timestamp_us` (2 ms of slack)."""
        age_s = (timestamp_us - self.stamps_us) / 1e6
        return np.flatnonzero((age_s >= shortest_s - 2e-3) & (age_s <= longest_s + 2e-3))


def camera_timelines(nusc: "Tables", scenes: Sequence[str]) -> dict[str, CameraTimeline]:
    """The timeline of each of the named scenes; one pass over the tables, by time stamps (links may be missing).

    Raises DataError for a scene that is not there.
    """
    names = {scene_row(nusc, scene)["token"]: scene for scene in scenes}
    rows: dict[str, dict[str, list[dict]]] = {
        token: {channel: [] for channel in nusc.rigs[token].cameras} for token in names
    }
    samples: dict[str, list[str]] = {token: [] for token in names}
    scene_of_sample = {row["token"]: row["scene_token"] for row in nusc.sample if row["scene_token"] in names}
    for sample, scene in scene_of_sample.items():
        samples[scene].append(sample)
    for row in nusc.sample_data:
        scene = scene_of_sample.get(row["sample_token"])
        if scene is not None and row["channel"] in rows[scene]:
            rows[scene][row["channel"]].append(row)
    return {names[token]: _timeline(nusc, names[token], rows[token], samples[token]) for token in names}


def _timeline(nusc: "Tables", scene: str, exposures: dict[str, list[dict]], samples: Sequence[str]) -> CameraTimeline:
    anchor = next(iter(exposures), "")
    for rows in exposures.values():
        rows.sort(key=lambda row: row["timestamp"])
    stamps = {channel: np.array([row["timestamp"] for row in rows], np.int64) for channel, rows in exposures.items()}
    moments = []
    for row in exposures.get(anchor, ()):
        is_keyframe = bool(row["is_key_frame"])
        tokens = _keyframe(nusc, row["sample_token"], exposures) if is_keyframe else _nearest(row, exposures, stamps)
        moments.append((row["timestamp"], row["sample_token"], is_keyframe, tokens))
    anchored = {sample for _, sample, is_keyframe, _ in moments if is_keyframe}
    for sample in samples:
        if sample not in anchored:
            tokens = _keyframe(nusc, sample, exposures)
            moments.append((make_frame(nusc, sample, tokens).timestamp_us, sample, True, tokens))
    moments.sort(key=lambda moment: moment[0])
    times, owners, keys, tokens = zip(*moments, strict=True) if moments else ((), (), (), ())
    return CameraTimeline(nusc, scene, np.array(times, np.int64), owners, np.array(keys, bool), tokens)


def _keyframe(nusc: "Tables", sample: str, channels: Iterable[str]) -> tuple[str, ...]:
    data = nusc.get("sample", sample)["data"]
    return tuple(data.get(channel, "") for channel in channels)


def _nearest(anchor: dict, exposures: dict[str, list[dict]], stamps: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Of each camera the exposure nearest to the anchor's, '' if it belongs to another moment."""
    tokens = []
    for channel, times in stamps.items():
        nearest = int(np.abs(times - anchor["timestamp"]).argmin()) if len(times) else -1
        near = nearest >= 0 and abs(times[nearest] - anchor["timestamp"]) <= TOLERANCE_US
        own = channel == anchor["channel"]
        tokens.append(anchor["token"] if own else exposures[channel][nearest]["token"] if near else "")
    return tuple(tokens)
