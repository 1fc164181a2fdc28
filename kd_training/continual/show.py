"""What a replay buffer holds: tables for the terminal, and a page with pictures that says why each keyframe is kept."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kd_perception.atomic import write_text
from kd_perception.data_check.pictures import every_category
from kd_perception.datasets.nuscenes import Frame, ground_truth_boxes, load_frame, open_nuscenes
from kd_perception.drawing.cameras import draw_camera
from kd_perception.drawing.pages import render_page
from kd_perception.evaluation.pictures import spread
from kd_perception.geometry.boxes import Boxes
from kd_perception.images.decoding import decode_image
from kd_perception.printable import printable
from kd_training.data.replay_buffer import BUFFER_VERSION, BufferEntry, ReplayBuffer, replay_probabilities

PAGE = "buffer.html"
WIDTH = 80  # characters of a table at most
MOST_PICTURES = 60
PICTURE_WIDTH = 480
SHARE_COLUMNS = ("domain", "share", "offered", "kept", "labelled", "drawn", "boxes", "MB")
LEGEND = "drawn: of what is replayed; labelled: by humans, the others by a teacher"
CLASS_LEGEND = "boxes of each class, by domain"


@dataclass(frozen=True)
class KeptPicture:
    """A keyframe on the page: its picture (h, w, 3) RGB, None without one, its title, and why it is kept."""

    title: str
    why: str
    picture: np.ndarray | None


def share_rows(buffer: ReplayBuffer) -> list[tuple[str, ...]]:
    """One row of SHARE_COLUMNS for each domain and share, and a row of all."""
    drawn = replay_probabilities(np.array([entry.score for entry in buffer.entries]))
    rows = []
    for domain in buffer.state.domains:
        for share in ("reservoir", "importance"):
            chosen = [
                k for k, entry in enumerate(buffer.entries) if (entry.domain, entry.share) == (domain.name, share)
            ]
            entries = [buffer.entries[k] for k in chosen]
            rows.append((domain.name, share, f"{domain.offered}", *_figures(entries, drawn[chosen].sum())))
    return [*rows, ("all", "", f"{buffer.state.offered}", *_figures(buffer.entries, drawn.sum()))]


def class_rows(buffer: ReplayBuffer) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns, and a row for each class: boxes in each domain and in all, the most frequent class first."""
    names = [domain.name for domain in buffer.state.domains]
    counts: dict[str, Counter[str]] = {}
    for entry in buffer.entries:
        for kind, boxes in entry.classes.items():
            counts.setdefault(kind, Counter())[entry.domain] += boxes
    order = sorted(counts, key=lambda kind: (-counts[kind].total(), kind))
    rows = [(kind, *(f"{counts[kind][name]}" for name in names), f"{counts[kind].total()}") for kind in order]
    return ("class", *names, "all"), rows


def print_buffer(buffer: ReplayBuffer, console: Console) -> None:
    """Print both tables, at most WIDTH characters wide."""
    title = f"{buffer.folder}: {len(buffer.entries)} of at most {buffer.state.settings.keyframes} keyframes"
    console.print(_table(title, SHARE_COLUMNS, share_rows(buffer), LEGEND), width=WIDTH)
    console.print(_table("", *class_rows(buffer), CLASS_LEGEND), width=WIDTH)


def write_page(buffer: ReplayBuffer, folder: Path) -> Path:
    """Write the page into a folder; returns its path. Raises DataError for a picture that cannot be read."""
    entries = spread(list(buffer.entries), MOST_PICTURES)
    page = render_page(
        PAGE,
        title=f"Replay buffer {buffer.folder.resolve().name}",
        tables=((SHARE_COLUMNS, share_rows(buffer), LEGEND), (*class_rows(buffer), CLASS_LEGEND)),
        pictures=list(_pictures(buffer, entries)),
        keyframes=len(buffer.entries),
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _pictures(buffer: ReplayBuffer, entries: Sequence[BufferEntry]) -> Iterator[KeptPicture]:
    nusc = open_nuscenes(buffer.folder, BUFFER_VERSION)
    classes = every_category([row["name"] for row in nusc.category])
    for entry in entries:
        frame = load_frame(nusc, entry.sample)
        boxes, _ = ground_truth_boxes(nusc, entry.sample, frame.global_from_ego, classes)
        reasons = [entry.why, f"recorded for: {entry.note}" if entry.note else "", entry.source_scene]
        title = f"{entry.domain}, {entry.share} {entry.number}"
        yield KeptPicture(title, "; ".join(filter(None, reasons)), _drawn(frame, boxes))


def _drawn(frame: Frame, boxes: Boxes) -> np.ndarray | None:
    """The camera that shows most boxes, with them; None where all are masked."""
    there = [image for image in frame.images if image.path is not None]
    if not there:
        return None
    image = max(there, key=lambda one: int(one.camera.project(boxes.center)[2].sum()))
    picture = decode_image(image.read(), str(image.path))
    return draw_camera(picture, image.camera, boxes, width=PICTURE_WIDTH)


def _figures(entries: Sequence[BufferEntry], drawn: float) -> tuple[str, ...]:
    """kept, labelled, drawn, boxes, MB."""
    boxes = sum(sum(entry.classes.values()) for entry in entries)
    size = sum(entry.size for entry in entries) / 1e6
    labelled = sum(entry.labelled for entry in entries)
    return f"{len(entries)}", f"{labelled}", f"{drawn:.0%}", f"{boxes}", f"{size:.1f}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], legend: str) -> Table:
    style = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
    table = Table(title=escape(printable(title)) or None, caption=legend, **style)
    for index, name in enumerate(columns):
        table.add_column(escape(printable(name)), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    return table
