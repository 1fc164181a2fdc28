"""Which keyframes are worth keeping: those that the student is unsure of and that show what is rare, evenly over
domains and classes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

NOTHING = "no object"  # in the place of a class where a keyframe holds none


@dataclass(frozen=True)
class BufferCandidate:
    """A keyframe that may be kept: its number, its domain, the classes of its boxes, and its score."""

    number: int
    domain: str
    classes: tuple[str, ...]
    score: float

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

    Turn by turn the class of a domain that the fewest chosen keyframes show takes its candidate of the highest score:
    a domain that the student is unsure of all over does not push the others out. The same for the same candidates.
    """
    left: dict[tuple[str, str], list[BufferCandidate]] = {}
    for candidate in sorted(candidates, key=lambda entry: (entry.score, -entry.number)):
        for cell in candidate.cells:
            left.setdefault(cell, []).append(candidate)
    chosen: dict[int, tuple[str, str]] = {}
    shown: Counter[tuple[str, str]] = Counter()
    while len(chosen) < count and left:
        cell = min(left, key=lambda entry: (shown[entry], len(left[entry]), entry))
        best = _next(left[cell], chosen)
        if best is None:
            del left[cell]
            continue
        chosen[best.number] = cell
        shown.update(best.cells)
    return chosen


def _next(ascending: list[BufferCandidate], chosen: dict[int, tuple[str, str]]) -> BufferCandidate | None:
    """Take the best that was not chosen; None if none is left."""
    while ascending:
        candidate = ascending.pop()
        if candidate.number not in chosen:
            return candidate
    return None


def scores(uncertainty: np.ndarray, rarity: Sequence[float] | np.ndarray) -> np.ndarray:
    """Importance (F,): uncertainty x rarity."""
    return np.asarray(uncertainty, float) * np.asarray(rarity, float)
