"""Which of a teacher's boxes count as truth, class by class: numbers in a file, so that they can be read and reused."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from kd_perception.atomic import write_bytes
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList

THRESHOLDS_FILE = "thresholds.json"
NEVER = 2.0  # above every score
DEFAULT_LOW, DEFAULT_CONFIDENT, DEFAULT_SURE = 0.1, 0.5, 0.7  # where too few labels are there to calibrate


@dataclass(frozen=True)
class ClassThresholds:
    """Scores of one class. A box is truth from `confident` on if a track confirms it, from `sure` on if none does; from
    `low` on all else is in doubt, and what is below is background. NEVER: no box, the whole class is in doubt.

    velocity_from_track: tracks know it better than the teacher. Counted when it was calibrated: true boxes, answers,
    precision and recall of the boxes that become truth; `note` says why numbers are not calibrated ones.
    """

    low: float
    confident: float
    sure: float
    velocity_from_track: bool = True
    truths: int = 0
    answers: int = 0
    precision: float | None = None
    recall: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Thresholds:
    """Of one teacher, by the SHA-256 of its weights: thresholds by class, and how many keyframes confirm a box."""

    teacher: str
    tracked: int
    classes: dict[str, ClassThresholds]

    def accepts(self, boxes: Boxes, length: np.ndarray) -> np.ndarray:
        """Which boxes (N,) are truth; `length` (N,) is that of their tracks."""
        confirmed = length >= self.tracked
        return boxes.score >= np.where(confirmed, self.confident[boxes.label], self.sure[boxes.label])

    @cached_property
    def low(self) -> np.ndarray:
        """By label (classes,)."""
        return np.array([entry.low for entry in self.classes.values()])

    @cached_property
    def confident(self) -> np.ndarray:
        """By label (classes,)."""
        return np.array([entry.confident for entry in self.classes.values()])

    @cached_property
    def sure(self) -> np.ndarray:
        """By label (classes,)."""
        return np.array([entry.sure for entry in self.classes.values()])

    @property
    def trusted(self) -> np.ndarray:
        """Which classes (classes,) can have boxes, bool."""
        return np.minimum(self.confident, self.sure) < NEVER

    @cached_property
    def velocity_from_track(self) -> np.ndarray:
        """By label (classes,), bool."""
        return np.array([entry.velocity_from_track for entry in self.classes.values()])

    def with_untrusted(self, labels: np.ndarray, note: str) -> "Thresholds":
        """The same with classes that are wholly in doubt."""
        changed = dict(self.classes)
        for name in (list(changed)[label] for label in labels):
            changed[name] = replace(changed[name], confident=NEVER, sure=NEVER, note=note)
        return Thresholds(self.teacher, self.tracked, changed)


def write_thresholds(path: Path, thresholds: Thresholds) -> None:
    """Write the file, atomically."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(thresholds), indent=1))


def read_thresholds(path: Path, teacher: str, classes: ClassList) -> Thresholds:
    """A file of thresholds; DataError if it is none, ConfigError if it is of another teacher or other classes."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Thresholds)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path} holds no thresholds ({error}); let kd label write it") from error
    if found.teacher != teacher:
        raise ConfigError(
            f"{path} holds thresholds of another teacher (weights {found.teacher[:12]}..., distill.teacher has "
            f"{teacher[:12]}...): scores of different teachers mean different things; calibrate again with kd label"
        )
    if tuple(found.classes) != classes.names:
        raise ConfigError(
            f"{path} holds thresholds of the classes {', '.join(found.classes)}, but the teacher has "
            f"{', '.join(classes.names)}; calibrate again with kd label"
        )
    return found
