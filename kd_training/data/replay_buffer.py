"""A replay buffer as it is read: a nuScenes-format data set of kept keyframes, and why each was kept.

FOLDER/samples, FOLDER/sweeps   files, which never change once they are there
FOLDER/v1.0-buffer              a link to the tables of now, buffer.json and buffer.jsonl among them
FOLDER/tables/NUMBER            these tables; an addition writes new ones beside and moves the link

`kd_training.continual.buffer` writes it.
"""

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from kd_perception.errors import DataError
from kd_training.config.continual import BufferConfig

BUFFER_VERSION = "v1.0-buffer"
ENTRIES_FILE, STATE_FILE = "buffer.jsonl", "buffer.json"
FORMAT = 1
LEAST_SCORE = 1e-3  # of the largest: a keyframe of no importance is drawn now and then, too

Share = Literal["reservoir", "importance"]


class BufferEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kept keyframe, a line of buffer.jsonl.

    sample: its token in the buffer's tables. domain; source (FOLDER/VERSION), source_scene and source_sample: where it
    was taken from. number: of all keyframes that were ever offered, from 0. share and, in the reservoir, slot. score:
    uncertainty x rarity. labelled: by a human, else a teacher. known: names of the classes that its labels cover.
    classes: boxes of each class. why: in words. size: bytes of its files. files: below the buffer's folder.
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
    size: int
    files: tuple[str, ...]


class BufferDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A domain that was offered: its name, its keyframes, and its scenes as FOLDER/VERSION/SCENE."""

    name: str
    offered: int
    scenes: tuple[str, ...]


class BufferState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a buffer remembers besides its keyframes: buffer.json."""

    settings: BufferConfig
    domains: tuple[BufferDomain, ...] = ()
    format: int = FORMAT

    @property
    def offered(self) -> int:
        """Keyframes that were ever offered."""
        return sum(domain.offered for domain in self.domains)


class ReplayBuffer(msgspec.Struct, frozen=True):
    """A buffer's folder, state and entries, in the order of `number`."""

    folder: Path
    state: BufferState
    entries: tuple[BufferEntry, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of its sensors' files; keyframes share neighbours."""
        names = {name for entry in self.entries for name in entry.files}
        return sum((self.folder / name).stat().st_size for name in names)


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
        raise DataError(f"replay buffer {folder} has format {state.format}, this version reads {FORMAT}; add it anew")
    return ReplayBuffer(folder, state, entries)


def replay_probabilities(scores: np.ndarray) -> np.ndarray:
    """How often keyframes of these scores (F,) are drawn (F,): as the square root of the score."""
    roots = np.sqrt(np.maximum(scores, LEAST_SCORE * scores.max(initial=0.0)))
    return roots / roots.sum() if roots.any() else np.full(len(scores), 1.0 / max(1, len(scores)))


def replay_weights(probabilities: np.ndarray) -> np.ndarray:
    """What a drawn keyframe counts (F,): 1 / (F p). Their mean over draws is 1, so that the loss keeps its scale, and
    the loss is the buffer's mean however it is drawn (prioritised replay, arXiv:1511.05952, divides by the largest)."""
    return 1.0 / (len(probabilities) * probabilities)
