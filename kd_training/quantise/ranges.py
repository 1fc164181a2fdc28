"""Ranges of tensors over calibration frames, from histograms of absolute values: by percentile, or by entropy."""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from kd_training.quantise.frames import RecordedFrame
from kd_training.quantise.torch_graph import GraphNetwork

BINS = 2048  # of a histogram from 0 to the greatest absolute value
LEVELS = 128  # non-negative values of int8
PERCENTILE = 99.995


class Method(StrEnum):
    """How a range is chosen.

    percentile: the value that PERCENTILE of the absolute values stay below; entropy: the range whose int8 values lose
    the least information (Kullback-Leibler divergence of the two histograms).
    """

    percentile = "percentile"
    entropy = "entropy"


def tensors_of(values: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays of a recorded frame as the network takes them."""
    return {
        name: torch.from_numpy(np.array(value, np.float32 if value.dtype == np.float16 else value.dtype))
        for name, value in values.items()
    }


class Ranges:
    """Histograms of values that are not 0, (BINS,) each, and per channel the greatest absolute value of every map.

    Two passes over the frames: the greatest values first, then the histograms.
    """

    def __init__(self, network: GraphNetwork, names: Collection[str]) -> None:
        self._network, self._names = network, set(names)
        self.greatest: dict[str, float] = dict.fromkeys(names, 0.0)
        self.per_channel: dict[str, Tensor] = {}
        self.counts = {name: torch.zeros(BINS, dtype=torch.float64) for name in names}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def find_greatest(self, frames: Sequence[RecordedFrame], progress: Callable[[int], None]) -> None:
        """Run the network over the frames for the greatest values; progress(how many are done)."""
        self._run(frames, self._widen, progress)

    def collect(self, frames: Sequence[RecordedFrame], progress: Callable[[int], None]) -> None:
        """The same, and run it again for the histograms."""
        self.find_greatest(frames, progress)
        self._run(frames, self._count, lambda done: progress(len(frames) + done))

    def _run(
        self, frames: Sequence[RecordedFrame], observe: Callable[[str, Tensor], Tensor], progress: Callable[[int], None]
    ) -> None:
        self._network.on_tensor = observe
        with torch.inference_mode():
            for index, frame in enumerate(frames):
                self._network(tensors_of(frame.inputs))
                progress(index + 1)
        self._network.on_tensor = unchanged

    def _widen(self, name: str, value: Tensor) -> Tensor:
        self.shapes[name] = tuple(value.shape)
        if name in self._names:
            self.greatest[name] = max(self.greatest[name], float(value.abs().max()))
        if value.ndim == 4 and value.is_floating_point():
            channels = value.abs().amax(dim=(0, 2, 3))
            before = self.per_channel.get(name)
            self.per_channel[name] = channels if before is None else torch.maximum(before, channels)
        return value

    def _count(self, name: str, value: Tensor) -> Tensor:
        if name in self._names and self.greatest[name] > 0:
            self.counts[name] += torch.histc(value.abs(), BINS, 0.0, self.greatest[name])
            self.counts[name][0] -= (value == 0).sum()  # behind ReLU often most of them; 0 is exact in int8
        return value

    def scales(self, method: Method) -> dict[str, float]:
        """value = scale x int8, of every tensor; of one that is always 0, or empty, as if it reached 1."""
        limit = {Method.percentile: percentile_bin, Method.entropy: entropy_bin}[method]
        found = {}
        for name, greatest in self.greatest.items():
            share = limit(self.counts[name].numpy()) / BINS if greatest > 0 else 1.0
            found[name] = (greatest or 1.0) * share / (LEVELS - 1)
        return found


def unchanged(name: str, value: Tensor) -> Tensor:
    """The value itself: what on_tensor and on_weight do at first."""
    return value


def percentile_bin(counts: np.ndarray) -> int:
    """How many bins from 0 hold PERCENTILE of the values; at least 1."""
    return int(np.searchsorted(np.cumsum(counts), PERCENTILE / 100 * counts.sum()) + 1) if counts.any() else 1


def entropy_bin(counts: np.ndarray) -> int:
    """How many bins from 0 int8 should cover (Migacz, GTC 2017): least divergence of the rounded histogram."""
    best, least = len(counts), np.inf
    for width in range(LEVELS, len(counts) + 1, 16):
        wanted = counts[:width].copy()
        wanted[-1] += counts[width:].sum()
        owner = np.arange(width) * LEVELS // width
        filled = counts[:width] > 0
        of_level = np.bincount(owner, counts[:width], LEVELS) / np.maximum(np.bincount(owner, filled, LEVELS), 1)
        got = np.where(filled, of_level[owner], 0.0)
        divergence = _divergence(wanted, got)
        if divergence < least:
            best, least = width, divergence
    return best


def _divergence(wanted: np.ndarray, got: np.ndarray) -> float:
    """Kullback-Leibler, of histograms that are made distributions; what `got` lacks counts as very rare."""
    if not wanted.sum() or not got.sum():
        return np.inf
    p, q = wanted / wanted.sum(), np.maximum(got / got.sum(), 1e-9)
    used = p > 0
    return float((p[used] * np.log(p[used] / q[used])).sum())
