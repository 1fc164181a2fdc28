"""The replay buffer grows by a domain: what is kept is chosen, copied next to it, and exchanged in one step.

A share of it is a reservoir of all that was ever offered, the rest is what is important: uncertainty x rarity, evenly
over domains and classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from kd_perception.datasets.kept_table import KeptRow, read_kept
from kd_perception.errors import ConfigError
from kd_training.config.continual import BufferConfig
from kd_training.continual.importance import NOTHING, BufferCandidate, most_important, rarities
from kd_training.continual.keyframe_rows import keyframe_rows, known_categories
from kd_training.continual.reservoir import reservoir_slots
from kd_training.continual.storage import CONTENT, LOCK, alone_in, clean, exchange, restore_link, write_files
from kd_training.data.frames import KeyFrames, facts_of
from kd_training.data.label_checks import check_labels, check_large_enough
from kd_training.data.replay_buffer import (
    BUFFER_VERSION,
    TABLES_FOLDER,
    BufferDomain,
    BufferEntry,
    BufferState,
    ReplayBuffer,
    doubt_file,
    is_buffer,
    read_buffer,
    rows_file,
    write_doubt,
)


@dataclass(frozen=True)
class OfferedDomain:
    """A domain's name and labelled keyframes (F); uncertainty (F,): the student's, 0 or more. Where nobody measured it,
    it is the importance that the recorder gave the keyframes, if they come from one.

    Several data sets may be one domain: `KeyFrames` of all of them.
    """

    name: str
    frames: KeyFrames
    uncertainty: np.ndarray | None = None

    @property
    def scenes(self) -> tuple[str, ...]:
        """Its scenes, as BufferDomain has them."""
        return tuple(dict.fromkeys(scene_place(facts.data_set, facts.scene) for facts in facts_of(self.frames)))

    @property
    def relative_uncertainty(self) -> np.ndarray:
        """Uncertainty (F,) by its mean, so that domains have one scale, whoever measured; 1 where nobody did."""
        measured = self.uncertainty
        if measured is None:
            known = [row.importance for row in self.recorded if row is not None]
            usual = np.mean(known) if known else 1.0
            measured = [usual if row is None else row.importance for row in self.recorded]
        mean = np.mean(measured)
        return np.asarray(measured, float) / mean if mean > 0.0 else np.ones(len(self.frames))

    @cached_property
    def recorded(self) -> list[KeptRow | None]:
        """Why the recorder kept each keyframe (F); None for one that comes from elsewhere."""
        facts = facts_of(self.frames)
        kept = {name: read_kept(Path(name)) for name in {entry.data_set for entry in facts}}
        return [kept[entry.data_set].get(entry.key.rpartition("/")[2]) for entry in facts]


def add_domain(folder: Path, offered: OfferedDomain, settings: BufferConfig) -> ReplayBuffer:
    """Offer a domain's keyframes to the buffer in a folder, which is made where there is none.

    `settings` are a new buffer's; an old one keeps its own. A domain may be continued with further scenes. The folder
    holds the old buffer until the new one is whole. Raises DataError for labels that contradict themselves, ConfigError
    for scenes that were offered before, for a domain too small to learn from, and while another process adds; the
    buffer is then as it was.
    """
    buffer = _opened(Path(folder), settings)
    check_new(buffer, offered.name, offered.scenes)
    check_large_enough(facts_of(offered.frames), offered.name, settings.least)
    check_labels((frame for frame in offered.frames if frame.labelled), f"domain '{offered.name}'")
    with alone_in(buffer.folder):
        restore_link(buffer.folder)
        buffer = _opened(buffer.folder, settings)  # somebody else may have added since
        check_new(buffer, offered.name, offered.scenes)
        clean(buffer.folder)
        try:
            entries = [
                _stored(buffer, offered, entry) if entry.number >= buffer.state.offered else entry
                for entry in _chosen(buffer, offered)
            ]
            return exchange(buffer.folder, _grown(buffer.state, offered), entries)
        finally:
            clean(buffer.folder)


def _opened(folder: Path, settings: BufferConfig) -> ReplayBuffer:
    if is_buffer(folder):
        return read_buffer(folder)
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else set()
    remains = found <= {*CONTENT, TABLES_FOLDER} and (folder / LOCK).exists()  # of a first addition that was killed
    if found and not remains:
        raise ConfigError(f"{folder} holds something else than a replay buffer; give a new folder")
    if settings.keyframes < 2 or not 0.0 <= settings.reservoir <= 1.0 or settings.sweeps < 0 or settings.neighbour < 0:
        raise ConfigError(
            f"continual.buffer asks for {settings.keyframes} keyframes with a reservoir of {settings.reservoir:g}, "
            f"{settings.sweeps} sweeps and a neighbour {settings.neighbour:g} s before; give at least 2 keyframes, a "
            "share from 0 to 1, and nothing below 0"
        )
    return ReplayBuffer(folder, BufferState(settings))


def check_new(buffer: ReplayBuffer, name: str, scenes: Sequence[str]) -> None:
    """Raise ConfigError for scenes (as BufferDomain has them) of a domain that were offered before, and for a buffer in
    the place of a domain."""
    if not name.strip() or "/" in name:
        raise ConfigError(f"'{name}' is no name of a domain; give a word, such as night")
    for domain in buffer.state.domains:
        if again := sorted(set(domain.scenes) & set(scenes)):
            raise ConfigError(
                f"{len(again)} scenes of domain '{name}' are in the buffer {buffer.folder} already, as domain "
                f"'{domain.name}', the first is {again[0]}; offer each scene once"
            )
    if kept := [scene for scene in scenes if f"/{BUFFER_VERSION}/" in scene]:
        raise ConfigError(f"{kept[0].rpartition('/')[0]} is a replay buffer itself; offer the data it was made from")


def _chosen(buffer: ReplayBuffer, offered: OfferedDomain) -> list[BufferEntry]:
    """The entries of the buffer with the domain, by number; new ones have no files yet."""
    settings, first = buffer.state.settings, buffer.state.offered
    slots = round(settings.keyframes * settings.reservoir)
    pool = {entry.number: entry for entry in (*buffer.entries, *_offers(offered, first))}
    reservoir = {entry.slot: entry.number for entry in buffer.entries if entry.share == "reservoir"}
    reservoir |= reservoir_slots(first, len(offered.frames), slots, settings.seed)
    in_reservoir = set(reservoir.values())
    others = [entry for number, entry in pool.items() if number not in in_reservoir]
    candidates = [
        BufferCandidate(
            entry.number, entry.domain, tuple(entry.classes), entry.score, f"{entry.source}/{entry.source_scene}"
        )
        for entry in others
    ]
    important = most_important(candidates, settings.keyframes - slots)
    evenly = f"drawn evenly from the {first + len(offered.frames)} keyframes that were offered"
    kept = [
        msgspec.structs.replace(pool[number], share="reservoir", slot=slot, why=evenly)
        for slot, number in reservoir.items()
    ]
    for number, (domain, name) in important.items():
        entry = pool[number]
        terms = f"score {entry.score:.2g}: uncertainty {entry.uncertainty:.2g} x rarity {entry.rarity:.2g}"
        why = f"shows {'nothing' if name == NOTHING else name} in {domain}, {terms}"
        kept.append(msgspec.structs.replace(entry, share="importance", slot=-1, why=why))
    return sorted(kept, key=lambda entry: entry.number)


def _offers(offered: OfferedDomain, first: int) -> list[BufferEntry]:
    """An entry for each keyframe of a domain, before any is chosen."""
    facts = facts_of(offered.frames)
    names = offered.frames[0].boxes.classes.names
    rarity, uncertainty = rarities(np.array([entry.present for entry in facts])), offered.relative_uncertainty
    return [
        BufferEntry(
            sample="",
            domain=offered.name,
            source=entry.data_set,
            source_scene=entry.scene,
            source_sample=entry.key.rpartition("/")[2],
            number=first + place,
            share="importance",
            uncertainty=float(uncertainty[place]),
            rarity=float(rarity[place]),
            score=float(uncertainty[place] * rarity[place]),
            labelled=entry.labelled,
            known=(),
            classes={names[label]: 1 for label in np.flatnonzero(entry.present)},
            why="",
            note="" if row is None else row.why,
            size=0,
            files=(),
        )
        for place, (entry, row) in enumerate(zip(facts, offered.recorded, strict=True))
    ]


def _stored(buffer: ReplayBuffer, offered: OfferedDomain, entry: BufferEntry) -> BufferEntry:
    """The entry of a new keyframe, whose files are now in the buffer's folder."""
    frame = offered.frames[entry.number - buffer.state.offered]
    rows = keyframe_rows(frame, f"{entry.domain}-{entry.number:06d}", buffer.state.settings)
    write_files(buffer.folder, rows, entry.number)
    files = [*rows.files, rows_file(entry.number)]
    if frame.doubt is not None:
        write_doubt(buffer.folder / doubt_file(entry.number), frame.doubt, frame.boxes.classes)
        files.append(doubt_file(entry.number))
    names = frame.boxes.classes.names
    return msgspec.structs.replace(
        entry,
        sample=rows.sample,
        known=known_categories(frame),
        classes=dict(Counter(names[label] for label in sorted(frame.boxes.label))),
        files=tuple(files),
        size=sum((buffer.folder / name).stat().st_size for name in files),
    )


def _grown(state: BufferState, offered: OfferedDomain) -> BufferState:
    """The state with the domain, or with more of it."""
    before = next((domain for domain in state.domains if domain.name == offered.name), BufferDomain(offered.name))
    grown = BufferDomain(
        offered.name, before.offered + len(offered.frames), tuple(sorted({*before.scenes, *offered.scenes}))
    )
    names = [domain.name for domain in state.domains]
    domains = [grown if domain.name == offered.name else domain for domain in state.domains]
    return msgspec.structs.replace(state, domains=(*domains, *(() if offered.name in names else (grown,))))


def scene_place(data_set: str, scene: str) -> str:
    """FOLDER/VERSION/SCENE with the folder as it really is; a buffer's version is a link that must stay."""
    return f"{Path(data_set).parent.resolve() / Path(data_set).name}/{scene}"
