"""Which frame a step's sample shows: a function of seed and position, so that a resumed run continues bit by bit."""

from collections.abc import Sequence

import numpy as np

from kd_training.data.frames import TrainingFrame, facts_of


class FrameSampler:
    """Frames by position in the run. With `balance`, a frame is drawn the more often the rarer its classes are (a light
    form of class-balanced grouping and sampling, arXiv:1908.09492); without, every epoch is a permutation."""

    def __init__(self, frames: Sequence[TrainingFrame], seed: int, *, balance: bool) -> None:
        self.frames, self.seed = frames, seed
        self.weights = frame_weights(frames) if balance else None

    def at(self, position: int, rng: np.random.Generator) -> TrainingFrame:
        """The frame at a position; `rng` is the position's own."""
        if self.weights is not None:
            return self.frames[int(rng.choice(len(self.frames), p=self.weights))]
        epoch, index = divmod(position, len(self.frames))
        return self.frames[int(np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.frames))[index])]


def frame_weights(frames: Sequence[TrainingFrame]) -> np.ndarray:
    """Sampling probability (frames,): mean over the frame's classes of 1 / sqrt(share of frames with that class)."""
    present = np.array([facts.present for facts in facts_of(frames)])
    rarity = 1.0 / np.sqrt(np.maximum(present.mean(axis=0), 1.0 / len(frames)))
    weights = (present * rarity).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    weights = np.where(weights > 0, weights, 1.0)
    return weights / weights.sum()
