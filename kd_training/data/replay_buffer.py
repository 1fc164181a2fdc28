"""A replay buffer as it is read: a nuScenes-format data set of kept keyframes, and why each was kept.

FOLDER/samples, FOLDER/sweeps   files, which never change once they are there
FOLDER/kept                     of each keyframe: its rows of the tables, and the doubt of a teacher that labelled it
FOLDER/v1.0-buffer              a link to the tables of now, buffer.json and buffer.jsonl among them
FOLDER/tables/NUMBER            these tables; an addition writes new ones next to these and moves the link

`kd_training.continual.buffer` writes it.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import msgspec
import numpy as np

from kd_perception.atomic import atomic_path
from kd_perception.errors import DataError
from kd_perception.geometry.classes import ClassList
from kd_training.config.continual import BufferConfig
from kd_training.data.doubt import DoubtfulCells

BUFFER_VERSION = "v1.0-buffer"
ENTRIES_FILE, STATE_FILE = "buffer.jsonl", "buffer.json"
TABLES_FOLDER = "tables"
FORMAT = 1
LEAST_SCORE = 1e-3  # of the largest: a keyframe of no importance is drawn now and then, too

Share = Literal["reservoir", "importance"]


class BufferEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kept keyframe, a line of buffer.jsonl.

    sample: its token in the buffer's tables. domain; source (FOLDER/VERSION), source_scene and source_sample: where it
    was taken from. number: of all keyframes that were ever offered, from 0. share and, in the reservoir, slot. score:
    uncertainty x rarity. labelled: by a human, else a teacher. known: categories that its labels cover. classes: boxes
    of each class. why it is kept, and note: why it was recorded, in words. files: below the buffer's folder, and size:
    their bytes.
    """

    sample: str
    domain: str
    source: str
    source_scene: str
    source_sample: str
    number: int
    share: Share
    slot: int = -1
    uncertainty: float
    rarity: float
    score: float
    labelled: bool
    known: tuple[str, ...]
    classes: dict[str, int]
    why: str
    note: str = ""
    size: int
    files: tuple[str, ...]


class BufferDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A domain that was offered: its name, its keyframes, and its scenes as FOLDER/VERSION/SCENE."""

    name: str
    offered: int = 0
    scenes: tuple[str, ...] = ()


class BufferState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a buffer remembers besides its keyframes: buffer.json."""

    settings: BufferConfig
    domains: tuple[BufferDomain, ...] = ()
    format: int = FORMAT

    @property
    def offered(self) -> int:
        """Keyframes that were ever offered."""
        return sum(domain.offered for domain in self.domains)


@dataclass(frozen=True)
class ReplayBuffer:
    """A buffer's folder, state and entries, in the order of `number`."""

    folder: Path
    state: BufferState
    entries: tuple[BufferEntry, ...] = ()

    @cached_property
    def by_sample(self) -> dict[str, BufferEntry]:
        """Its entries by their samples."""
        return {entry.sample: entry for entry in self.entries}

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(entry.size for entry in self.entries)


def rows_file(number: int) -> str:
    """Where the rows of a keyframe are, below the buffer's folder."""
    return f"kept/{number:06d}.json"


def doubt_file(number: int) -> str:
    """Where a teacher's doubt about a keyframe is, below the buffer's folder."""
    return f"kept/{number:06d}.npz"


def is_buffer(folder: Path) -> bool:
    """Whether the folder holds a buffer, maybe a broken one."""
    return (folder / BUFFER_VERSION / STATE_FILE).exists()


def read_buffer(folder: Path) -> ReplayBuffer:
    """Read state and entries. Raises DataError for a folder that is no buffer, and for a broken one."""
    folder, tables = Path(folder), Path(folder) / BUFFER_VERSION
    if not is_buffer(folder):
        raise DataError(
            f"{folder} holds no replay buffer (no {BUFFER_VERSION}/{STATE_FILE}); `kd continual buffer add` makes one"
        )
    try:
        state = msgspec.json.decode((tables / STATE_FILE).read_bytes(), type=BufferState)
        lines = (tables / ENTRIES_FILE).read_bytes().splitlines()
        entries = tuple(msgspec.json.decode(line, type=BufferEntry) for line in lines)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"replay buffer {folder} is broken ({error}); delete it and add its domains again") from error
    if state.format != FORMAT:
        raise DataError(f"replay buffer {folder} has format {state.format}, this version reads {FORMAT}; add it again")
    missing = [name for entry in entries for name in entry.files if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"replay buffer {folder} lacks {len(missing)} of its files, the first is {missing[0]}; restore them, or "
            "delete it and add its domains again"
        )
    return ReplayBuffer(folder, state, entries)


def write_doubt(path: Path, doubt: DoubtfulCells, classes: ClassList) -> None:
    """Write a keyframe's cells in doubt, whole or not at all; classes by name, for lists grow."""
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            names=np.array(classes.names),
            xy=doubt.xy.astype(np.float32),
            label=doubt.label.astype(np.int16),
            side=doubt.side,
            everywhere=doubt.everywhere,
        )


def doubt_of(buffer: ReplayBuffer, entry: BufferEntry, classes: ClassList) -> DoubtfulCells | None:
    """Where an object may be that the labels of a keyframe lack: what its teacher doubted, and all cells of classes
    that its labels do not cover, such as classes that joined later. None where all is known.

    Raises DataError for a file that is broken.
    """
    known = set(entry.known)
    unknown = [label for label, kind in enumerate(classes.classes) if not known.issuperset(kind.categories)]
    if doubt_file(entry.number) not in entry.files:
        return DoubtfulCells(np.zeros((0, 2)), np.zeros(0, np.int64), 1.0, np.array(unknown)) if unknown else None
    path = buffer.folder / doubt_file(entry.number)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        now = np.array([classes.names.index(name) if name in classes.names else -1 for name in arrays["names"]])
        label = now[arrays["label"]]
        everywhere = now[arrays["everywhere"]]
        everywhere = np.unique(np.concatenate([everywhere[everywhere >= 0], np.array(unknown, np.int64)]))
        xy, there = arrays["xy"].astype(float), label >= 0
        return DoubtfulCells(xy[there], label[there], float(arrays["side"]), everywhere)
    except (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, BadZipFile) as error:
        raise DataError(f"{path} of a replay buffer is broken ({error}); add the buffer's domains again") from error


def replay_probabilities(scores: np.ndarray) -> np.ndarray:
    """How often keyframes of these scores (F,) are drawn (F,): as the square root of the score."""
    roots = np.sqrt(np.maximum(scores, LEAST_SCORE * scores.max(initial=0.0)))
    return roots / roots.sum() if roots.any() else np.full(len(scores), 1.0 / max(1, len(scores)))


def replay_weights(probabilities: np.ndarray) -> np.ndarray:
    """What a drawn keyframe counts (F,): 1 / (F p). Their mean over draws is 1, so that the loss keeps its scale, and
    the loss is the buffer's mean however it is drawn (prioritised replay, arXiv:1511.05952, divides by the largest)."""
    return 1.0 / (len(probabilities) * probabilities)
