"""The recording folder: one rosbag2 of many small MCAP files, a kept frame each, and why each was kept.

    metadata.yaml            rosbag2's: lists the files in order of time
    kept.jsonl               a line a frame: KeptFrame
    frame_<stamp in ns>.mcap images, CameraInfo, clouds, tf, odometry and both sides' detections around that stamp

A frame is kept by its whole file first, then a line, then metadata.yaml; it leaves in the opposite order. Each step is
one rename or one deletion, so the folder is a bag that plays after a kill at any moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kd_perception.bags.metadata import METADATA, read_metadata
from kd_perception.errors import DataError

KEPT = "kept.jsonl"
FRAME_PREFIX, FRAME_SUFFIX = "frame_", ".mcap"
LOCK = ".recorder.lock"


@dataclass(frozen=True)
class KeptFrame:
    """A line of kept.jsonl.

    stamp_ns: exposure of the anchor camera, the frame's time; file: name of its MCAP file, and its bytes; importance:
    how much student and teacher dispute (sum of `doubts`); rarity: how rare its classes were among the frames kept
    before, 1 if they were common as all; verdicts: disputed boxes by kind (continual.verdicts.DisputeKind); classes:
    the teacher's boxes by class; doubts: the share of importance by class; why: for people.
    """

    stamp_ns: int
    file: str
    bytes: int
    importance: float
    rarity: float
    verdicts: dict[str, int]
    classes: dict[str, int]
    doubts: dict[str, float]
    why: str


@dataclass(frozen=True)
class KeptRecording:
    """A recording folder as it lies there. frames: in order of time; problems: sentences on what is left out."""

    folder: Path
    frames: tuple[KeptFrame, ...]
    problems: tuple[str, ...] = ()


def frame_name(stamp_ns: int) -> str:
    """The name of a kept frame's file."""
    return f"{FRAME_PREFIX}{stamp_ns}{FRAME_SUFFIX}"


def is_recording(folder: Path) -> bool:
    """Whether a folder is one of `hard_sample_recorder`, by its index."""
    return (folder / KEPT).is_file()


def read_recording(folder: Path) -> KeptRecording:
    """The frames that are whole: in the index, in metadata.yaml and there. The recorder may be running or killed.

    Raises DataError if the folder is no recording, or cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"recording {folder} does not exist; give the folder that hard_sample_recorder wrote")
    if not is_recording(folder):
        raise DataError(f"{folder} has no {KEPT}, so it is no recording of hard_sample_recorder; give another folder")
    frames, problems = read_index(folder)
    listed: frozenset[str] = frozenset()
    if frames:
        try:
            listed = frozenset(read_metadata(folder).files)
        except DataError as error:
            raise DataError(
                f"recording {folder}: {error}; start the recorder on it once, which writes it again"
            ) from error
    whole = tuple(frame for frame in frames if frame.file in listed and (folder / frame.file).is_file())
    if left_out := len(frames) - len(whole):
        problems.append(
            f"recording {folder}: {left_out} frames of {KEPT} have no file or are not in {METADATA}: the recorder was "
            "stopped while it wrote or removed them"
        )
    return KeptRecording(folder, whole, tuple(problems))


def read_index(folder: Path) -> tuple[list[KeptFrame], list[str]]:
    """The frames of kept.jsonl in order of time, and a sentence for each line that is none.

    Raises DataError if the file cannot be read.
    """
    path = folder / KEPT
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the disk and its permissions") from error
    found: dict[str, KeptFrame] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        try:
            frame = msgspec.json.decode(line, type=KeptFrame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            problems.append(f"{path}, line {number}, is no kept frame and is left out ({error}); remove it")
            continue
        if frame.file != frame_name(frame.stamp_ns):
            problems.append(
                f"{path}, line {number}, names the file '{frame.file}', which is not its frame's; remove it"
            )
            continue
        found[frame.file] = frame
    return sorted(found.values(), key=lambda frame: frame.stamp_ns), problems


def index_bytes(frames: Sequence[KeptFrame]) -> bytes:
    """The content of kept.jsonl."""
    return b"".join(msgspec.json.encode(frame) + b"\n" for frame in frames)
