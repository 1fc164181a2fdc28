"""Which frame a step's sample shows: a function of seed and position, so that a resumed run continues bit by bit."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np

from kd_perception.errors import ConfigError
from kd_training.data.frames import TrainingFrame, facts_of


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
    """Labelled and unlabelled frames in turn: of any positions in a row a `share` is unlabelled, to within one.

    Either kind is drawn as FrameSampler draws. Raises ConfigError where one kind is missing.
    """

    def __init__(self, frames: Sequence[TrainingFrame], seed: int, share: float, *, balance: bool) -> None:
        labelled = np.array([facts.labelled for facts in facts_of(frames)])
        if labelled.all() or not labelled.any():
            kind = "unlabelled" if labelled.all() else "labelled"
            raise ConfigError(f"data.pseudo.share is {share:g}, but no keyframe is {kind}; set data.pseudo.share=0")
        self.share = Fraction(share).limit_denominator(1000)
        self.labelled, self.unlabelled = (
            FrameSampler(frames, seed, balance=balance, places=np.flatnonzero(kind)) for kind in (labelled, ~labelled)
        )

    def at(self, position: int, rng: np.random.Generator) -> TrainingFrame:
        """The frame at a position; `rng` is the position's own."""
        before, after = floor(position * self.share), floor((position + 1) * self.share)
        if after > before:
            return self.unlabelled.at(before, rng)
        return self.labelled.at(position - before, rng)


def frame_weights(frames: Sequence[TrainingFrame], places: np.ndarray | None = None) -> np.ndarray:
    """Sampling probability (places,): mean over the frame's classes of 1 / sqrt(share of frames with that class)."""
    facts = facts_of(frames)
    present = np.array([facts[place].present for place in (range(len(facts)) if places is None else places)])
    rarity = 1.0 / np.sqrt(np.maximum(present.mean(axis=0), 1.0 / len(present)))
    weights = (present * rarity).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    weights = np.where(weights > 0, weights, 1.0)
    return weights / weights.sum()
