"""Which frame a step's sample shows: a function of seed and position, so that a resumed run continues bit by bit."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import Protocol

import numpy as np

from kd_perception.errors import ConfigError
from kd_training.data.frames import TrainingFrame, facts_of


class Sampler(Protocol):
    """Draws frames."""

    def at(self, position: int, rng: np.random.Generator) -> TrainingFrame:
        """The frame at a position; `rng` is the position's own."""


class FrameSampler:
    """Frames by position in the run. With `balance`, a frame is drawn the more often the rarer its classes are (a light
    form of class-balanced grouping and sampling, arXiv:1908.09492); without, every epoch is a permutation.

    `places`: the frames to draw from; None: all.
    """

    def __init__(
        self, frames: Sequence[TrainingFrame], seed: int, *, balance: bool, places: np.ndarray | None = None
    ) -> None:
        self.frames, self.seed = frames, seed
        self.places = np.arange(len(frames)) if places is None else places
        self.weights = frame_weights(frames, self.places) if balance else None

    def at(self, position: int, rng: np.random.Generator) -> TrainingFrame:
        """The frame at a position; `rng` is the position's own."""
        if self.weights is not None:
            return self.frames[int(self.places[rng.choice(len(self.places), p=self.weights)])]
        epoch, index = divmod(position, len(self.places))
        order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.places))
        return self.frames[int(self.places[order[index]])]


class MixedSampler:
    """Frames of two kinds in turn: of any positions in a row a `share` comes from `second`, to within one."""

    def __init__(self, first: Sampler, second: Sampler, share: float) -> None:
        self.first, self.second = first, second
        self.share = Fraction(share).limit_denominator(1000)

    def at(self, position: int, rng: np.random.Generator) -> TrainingFrame:
        """The frame at a position; `rng` is the position's own."""
        before, after = floor(position * self.share), floor((position + 1) * self.share)
        if after > before:
            return self.second.at(before, rng)
        return self.first.at(position - before, rng)


class ReplaySampler:
    """Replayed frames, each as often as its facts say."""

    def __init__(self, frames: Sequence[TrainingFrame], places: np.ndarray) -> None:
        self.frames, self.places = frames, places
        facts = facts_of(frames)
        drawn = np.array([facts[place].drawn for place in places])
        self.probabilities = drawn / drawn.sum()

    def at(self, position: int, rng: np.random.Generator) -> TrainingFrame:
        """A frame drawn by `rng`, the position's own."""
        del position
        return self.frames[int(self.places[rng.choice(len(self.places), p=self.probabilities)])]


def unlabelled_apart(
    frames: Sequence[TrainingFrame], seed: int, share: float, *, balance: bool, places: np.ndarray
) -> MixedSampler:
    """A `share` of unlabelled frames among those at `places`, either kind drawn as FrameSampler draws.

    Raises ConfigError where one kind is missing.
    """
    facts = facts_of(frames)
    labelled = np.array([facts[place].labelled for place in places], bool)
    if labelled.all() or not labelled.any():
        kind = "unlabelled" if labelled.all() else "labelled"
        raise ConfigError(f"data.pseudo.share is {share:g}, but no keyframe is {kind}; set data.pseudo.share=0")
    kinds = (FrameSampler(frames, seed, balance=balance, places=places[kind]) for kind in (labelled, ~labelled))
    return MixedSampler(*kinds, share)


def frame_weights(frames: Sequence[TrainingFrame], places: np.ndarray | None = None) -> np.ndarray:
    """Sampling probability (places,): mean over the frame's classes of 1 / sqrt(share of frames with that class)."""
    facts = facts_of(frames)
    present = np.array([facts[place].present for place in (range(len(facts)) if places is None else places)])
    rarity = 1.0 / np.sqrt(np.maximum(present.mean(axis=0), 1.0 / len(present)))
    weights = (present * rarity).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    weights = np.where(weights > 0, weights, 1.0)
    return weights / weights.sum()
