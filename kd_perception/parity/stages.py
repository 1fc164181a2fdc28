"""Two snapshots of a frame compared stage by stage, in the order in which one stage feeds the next.

A difference in one stage explains those of the stages behind it: the first one is the cause.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from kd_perception.parity.tolerances import POSITION_TOLERANCE, RAW_TOLERANCE, have_partner, raw_errors
from kd_perception.runtime.snapshot import FrameSnapshot

PIXEL_LEVELS = 1.0  # of 255: affine maps from two sources of tf may differ in their last digit
TABLE_SHARE = 1e-3  # of a table's entries: the same digit moves a point over the border of a cell
CALIBRATION = 1e-6  # relative, of every number
MEMORY = 1e-4  # of the grid's half width, and of a second


@dataclass(frozen=True)
class Compared:
    """One thing that was compared: a camera's name or a table's, how far it differs, and in words."""

    what: str
    amount: float
    words: str = ""


@dataclass(frozen=True)
class ParityStage:
    """A stage: compare gives (live, offline) -> what was compared; allowed: the amount up to which it agrees.

    unit: what the amounts are.
    """

    name: str
    unit: str
    allowed: float
    compare: Callable[[FrameSnapshot, FrameSnapshot], Iterator[Compared]]


def _images(live: FrameSnapshot, offline: FrameSnapshot) -> Iterator[Compared]:
    """The same images of the same cameras, and the same cameras masked."""
    for name, age, other in zip(live.cameras, live.ages_ns, offline.ages_ns, strict=True):
        words = ""
        if (name in live.masked) != (name in offline.masked):
            side, reason = ("live", live.masked) if name in live.masked else ("offline", offline.masked)
            words = f"it is masked {side} only: {reason[name]}"
        elif name not in live.masked and age != other:
            shown = [f"{-each / 1e6:+.1f} ms" for each in (age, other)]
            words = f"its image is {shown[0]} from the anchor's live, but {shown[1]} offline"
        yield Compared(f"camera '{name}'", float(bool(words)), words)


def _calibration(live: FrameSnapshot, offline: FrameSnapshot) -> Iterator[Compared]:
    """Size, K, lens and mounting of the cameras that the network sees."""
    for name in _seen(live, offline):
        worst, words = 0.0, ""
        for key, value in live.calibration[name].items():
            amount = _distance(value, offline.calibration[name][key])
            if amount > worst:
                worst, words = (
                    amount,
                    f"its {key} is {_short(value)} live, but {_short(offline.calibration[name][key])}",
                )
        yield Compared(f"camera '{name}'", worst, f"{words} offline" if words else "")


def _pixels(live: FrameSnapshot, offline: FrameSnapshot) -> Iterator[Compared]:
    """What the network gets of each camera."""
    for name in _seen(live, offline):
        first = live.cameras.index(name) * live.views
        pair = [each.images[first : first + live.views].astype(np.int16) for each in (live, offline)]
        if pair[0].shape != pair[1].shape:
            yield Compared(f"camera '{name}'", np.inf, f"they have the shapes {pair[0].shape} and {pair[1].shape}")
            continue
        apart = np.abs(pair[0] - pair[1])
        share = float((apart > PIXEL_LEVELS).any(axis=-1).mean())
        words = f"{100 * share:.1f} % of its pixels differ, by up to {apart.max()} of 255 levels"
        yield Compared(f"camera '{name}'", float(apart.max()), words)


def _tables(live: FrameSnapshot, offline: FrameSnapshot) -> Iterator[Compared]:
    """Geometry inputs: the share of entries that differ, and the camera that most of the differing ones belong to."""
    for name, table in live.tables.items():
        other = offline.tables.get(name)
        if other is None or other.shape != table.shape:
            yield Compared(f"table {name}", 1.0, "it has another shape")
            continue
        differs = ~np.isclose(table, other, rtol=1e-5, atol=1e-6)
        words = f"{100 * differs.mean():.2f} % of its entries differ"
        camera = _camera_of(live, name, table[differs])
        yield Compared(f"table {name}" + (f", camera '{camera}'" if camera else ""), float(differs.mean()), words)


def _memory(live: FrameSnapshot, offline: FrameSnapshot) -> Iterator[Compared]:
    """Whether a memory is used, how old it is, and the robot's motion since: features are earlier frames' outputs."""
    for name, array in live.memory.items():
        apart = float(np.abs(array - offline.memory[name]).max()) if name in offline.memory else np.inf
        yield Compared(f"input {name}", apart, f"it differs by {apart:.2g}")


def _outputs(live: FrameSnapshot, offline: FrameSnapshot) -> Iterator[Compared]:
    """What the engine computes."""
    if live.outputs.keys() != offline.outputs.keys():
        yield Compared("the network", np.inf, "it ran only on one side")
        return
    for name, error in raw_errors(live.outputs, offline.outputs).items():
        yield Compared(f"output {name}", error, f"it differs by up to {error:.2g} of max(1, |offline|)")


def _boxes(live: FrameSnapshot, offline: FrameSnapshot) -> Iterator[Compared]:
    """Boxes with a partner on the other side."""
    for mine, theirs, side in ((live, offline, "live"), (offline, live, "offline")):
        lone = int((~have_partner(mine.boxes, theirs.boxes)).sum())
        words = f"{lone} of {len(mine.boxes)} have no partner within {100 * POSITION_TOLERANCE:g} cm on the other side"
        yield Compared(f"the {side} boxes", float(lone), words)


STAGES = (
    ParityStage("images", "other image or mask", 0.0, _images),
    ParityStage("calibration", "relative", CALIBRATION, _calibration),
    ParityStage("pixels", "levels of 255", PIXEL_LEVELS, _pixels),
    ParityStage("tables", "share of entries", TABLE_SHARE, _tables),
    ParityStage("memory", "of half the grid, s", MEMORY, _memory),
    ParityStage("outputs", "of max(1, |offline|)", RAW_TOLERANCE, _outputs),
    ParityStage("boxes", "without a partner", 0.0, _boxes),
)


def _seen(live: FrameSnapshot, offline: FrameSnapshot) -> list[str]:
    """Cameras that the network sees on both sides; the first stage tells of the others."""
    return [name for name in live.cameras if name not in live.masked and name not in offline.masked]


def _distance(value: list[float] | str, other: list[float] | str) -> float:
    """Of two texts or lists of numbers: 0 if they are the same, else relative to the largest number, or infinite."""
    if isinstance(value, str) or isinstance(other, str) or len(value) != len(other):
        return 0.0 if value == other else np.inf
    if not value:
        return 0.0
    apart = np.abs(np.subtract(value, other)).max()
    return float(apart / max(1.0, np.abs(other).max()))


def _short(value: list[float] | str) -> str:
    return value if isinstance(value, str) else "[" + ", ".join(f"{number:.6g}" for number in value) + "]"


def _camera_of(live: FrameSnapshot, table: str, entries: np.ndarray) -> str:
    """The camera that most of the differing entries of an index table point into; '' where a table names none."""
    if table != "pixel_index" or not len(entries):
        return ""
    views = np.bincount(np.minimum(entries // live.feature_pixels, len(live.images) - 1))
    return live.cameras[int(views.argmax()) // live.views]
