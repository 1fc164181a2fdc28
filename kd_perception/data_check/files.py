"""What a data set's files and times are like: what is absent, where time jumps, what two data sets share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from kd_perception.data_check.labels import LabelArrays
from kd_perception.datasets.nuscenes import load_frame, scene_names, scene_samples
from kd_perception.errors import DataError
from kd_perception.geometry.classes import ClassList
from kd_perception.images.decoding import decode_image
from kd_perception.rig_check.finding import Finding, Severity

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

GAP = 3.0  # times the usual time between keyframes
HASH_SIDE = 16  # of the difference hash of a picture
ALIKE_BITS = 10  # of 256: pictures of other moments differ in far more
FEWEST_TEXTURE = 40  # bits that are set: a dark or empty picture resembles every other one


def check_files(nusc: "Tables", samples: Sequence[str]) -> list[Finding]:
    """Files that the tables list and the folder lacks, by channel."""
    wanted = set(samples)
    rows = [row for row in nusc.sample_data if row["sample_token"] in wanted]
    absent = [row for row in rows if not (Path(nusc.dataroot) / row["filename"]).is_file()]
    if not absent:
        return []
    counts = ", ".join(f"{count} of {name}" for name, count in sorted(Counter(r["channel"] for r in absent).items()))
    keys = sum(bool(row["is_key_frame"]) for row in absent)
    return [
        Finding(
            Severity.error if keys else Severity.warning,
            f"{len(absent)} of {len(rows)} files are missing, {keys} of keyframes ({counts}), the first is "
            f"{absent[0]['filename']}: restore them or choose scenes whose files are there",
        )
    ]


def check_gaps(nusc: "Tables") -> list[Finding]:
    """Scenes whose keyframes are much further apart somewhere than usual."""
    findings = []
    for scene in scene_names(nusc):
        samples = scene_samples(nusc, scene)
        steps = np.diff([nusc.get("sample", token)["timestamp"] for token in samples]) / 1e6
        if len(steps) > 2 and steps.max() > GAP * np.median(steps):
            at = int(steps.argmax())
            findings.append(
                Finding(
                    Severity.warning,
                    f"scene '{scene}': {steps.max():.1f} s without a keyframe after sample {samples[at]}, usual are "
                    f"{np.median(steps):.1f} s: velocities there are unknown; split the scene",
                )
            )
    return findings


def check_categories(labels: LabelArrays, classes: ClassList) -> list[Finding]:
    """Categories that belong to no class of the list, and lists that find nothing."""
    counts = Counter(labels.category.tolist())
    unknown = {name: count for name, count in counts.items() if name not in classes.label_of_category}
    if not counts:
        return [Finding(Severity.note, "there are no boxes: only teaching without labels can use these scenes")]
    if len(unknown) == len(counts):
        text = f"no category belongs to a class ({', '.join(counts)}): give the list that names them with --classes"
        return [Finding(Severity.error, text)]
    if unknown:
        text = ", ".join(f"{name} ({count})" for name, count in sorted(unknown.items()))
        return [Finding(Severity.note, f"categories that belong to no class, and are not learnt: {text}")]
    return []


def check_duplicates(nusc: "Tables", other: "Tables") -> list[Finding]:
    """Keyframes of another data set that look like keyframes of this one."""
    own, foreign = (picture_hashes(tables) for tables in (nusc, other))
    if not own or not foreign:
        return [Finding(Severity.note, "no pictures to look for near-duplicates in", doubt=True)]
    bits, others = np.array(list(own.values())), np.array(list(foreign.values()))
    nearest = np.array([(others != row).sum(axis=1).min() for row in bits])
    alike = nearest <= ALIKE_BITS
    if not alike.any():
        return []
    first = list(own)[int(alike.argmax())]
    return [
        Finding(
            Severity.error,
            f"{alike.sum()} of {len(own)} keyframes look like keyframes of {other.dataroot}, the first is sample "
            f"{first}: scores on one are no measure of what is learnt on the other; split by scene",
        )
    ]


def picture_hashes(nusc: "Tables") -> Mapping[str, np.ndarray]:
    """A difference hash (256,) bool of the anchor's picture by sample, without pictures that show nothing."""
    hashes = {}
    for scene in scene_names(nusc):
        for sample in scene_samples(nusc, scene):
            bits = _hash(load_frame(nusc, sample).images[0])
            if bits is not None and FEWEST_TEXTURE <= bits.sum() <= bits.size - FEWEST_TEXTURE:
                hashes[sample] = bits
    return hashes


def _hash(image) -> np.ndarray | None:  # noqa: ANN001 - a CameraImage
    try:
        data = image.read()
        picture = None if data is None else decode_image(data, str(image.path))
    except DataError:
        return None
    if picture is None:
        return None
    small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (HASH_SIDE + 1, HASH_SIDE), interpolation=3)
    return (small[:, 1:] > small[:, :-1]).ravel()
