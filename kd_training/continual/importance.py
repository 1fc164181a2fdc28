"""Which keyframes are worth keeping: those that the student is unsure of and that show what is rare, evenly over
domains and classes, and spread over scenes and time."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kd_training.data.replay_buffer import LEAST_SCORE

NOTHING = "no object"  # in the place of a class where a keyframe holds none


@dataclass(frozen=True)
class BufferCandidate:
    """A keyframe that may be kept: its number, its domain, the classes of its boxes, its score, and its scene.

    Numbers of a scene follow its time.
    """

    number: int
    domain: str
    classes: tuple[str, ...]
    score: float
    scene: str

    @property
    def cells(self) -> list[tuple[str, str]]:
        """What it stands for: its domain with each of its classes."""
        return [(self.domain, name) for name in self.classes or (NOTHING,)]


def rarities(present: np.ndarray) -> np.ndarray:
    """Rarity (F,) of keyframes by the classes that each has, bool (F, classes): the mean over its classes of
    1 / sqrt(share of keyframes with the class), as class-balanced sampling weighs them (arXiv:1908.09492); 1 without
    any."""
    shares = np.maximum(present.mean(axis=0), 1.0 / max(1, len(present)))
    sums = (present / np.sqrt(shares)).sum(axis=1)
    return np.where(present.any(axis=1), sums / np.maximum(present.sum(axis=1), 1), 1.0)


def most_important(candidates: Iterable[BufferCandidate], count: int) -> dict[int, tuple[str, str]]:
    """The `count` candidates to keep, by number, each with the domain and class that it was kept for.

    Turn by turn the class of a domain that the fewest chosen keyframes show takes its best candidate: a domain that the
    student is unsure of all over does not push the others out. The best is that of the highest score, divided by 1 plus
    1 + 1 / gap for each chosen keyframe of its scene, `gap` keyframes away: what follows a chosen keyframe shows little
    new. So scenes share by their scores as parties share seats (D'Hondt, 1878). The same for the same candidates.
    """
    ranked = sorted(candidates, key=lambda entry: (-entry.score, entry.number))
    scores = np.array([entry.score for entry in ranked])
    scores = np.maximum(scores, LEAST_SCORE * scores.max(initial=0.0) or 1.0)
    scenes = np.array([entry.scene for entry in ranked])
    numbers = np.array([entry.number for entry in ranked])
    divisors = np.ones(len(ranked))
    cells: dict[tuple[str, str], list[int]] = {}
    for rank, candidate in enumerate(ranked):
        for cell in candidate.cells:
            cells.setdefault(cell, []).append(rank)
    left = {cell: np.array(ranks) for cell, ranks in cells.items()}
    chosen: dict[int, tuple[str, str]] = {}
    shown: Counter[tuple[str, str]] = Counter()
    while len(chosen) < count and left:
        cell = min(left, key=lambda entry: (shown[entry], len(left[entry]), entry))
        ranks = left[cell]
        best = ranks[np.argmax(scores[ranks] / divisors[ranks])]
        chosen[ranked[best].number] = cell
        shown.update(ranked[best].cells)
        gaps = np.maximum(np.abs(numbers - numbers[best]), 1)
        divisors += (scenes == scenes[best]) * (1.0 + 1.0 / gaps)
        for taken in ranked[best].cells:
            left[taken] = left[taken][left[taken] != best]
            if not len(left[taken]):
                del left[taken]
    return chosen
