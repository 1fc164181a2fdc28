"""Labels that contradict themselves, or are too few: nothing can be learnt from them, whoever made them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_training.data.frame_facts import FrameFacts
from kd_training.data.frames import TrainingFrame

SAME_PLACE = 0.25  # of the smaller box's length and width: how far apart two centres are at least
SAME_SIZE = 1.25  # ratio of footprints up to which two boxes may be the same object
NAMED = 3  # keyframes in a refusal


@dataclass(frozen=True)
class UnfitFrame:
    """A keyframe by its sample and scene, and what is wrong with its boxes."""

    sample: str
    scene: str
    reason: str


def unfit_boxes(boxes: Boxes) -> str:
    """What is wrong with a keyframe's boxes, '' if nothing is: values that are not finite, sizes of nothing, and boxes
    of two classes that are the same object. Velocities may be unknown (NaN)."""
    finite = np.isfinite(np.column_stack([boxes.center, boxes.size, boxes.yaw])).all(axis=1)
    if not finite.all():
        return f"a {_name(boxes, np.flatnonzero(~finite)[0])} whose centre, size or yaw is not finite"
    flat = (boxes.size <= 0.0).any(axis=1)
    if flat.any():
        first = int(np.flatnonzero(flat)[0])
        size = " x ".join(f"{value:g}" for value in boxes.size[first])
        return f"a {_name(boxes, first)} of the size {size} m"
    pairs = contradictions(boxes)
    if len(pairs):
        one, other = pairs[0]
        x, y = boxes.center[one, :2]
        return f"a {_name(boxes, one)} and a {_name(boxes, other)} at the same place ({x:.1f}, {y:.1f}) of ego"
    return ""


def contradictions(boxes: Boxes) -> np.ndarray:
    """Pairs (P, 2) of boxes that are one object by place and size, and of two classes."""
    if len(boxes) < 2:
        return np.zeros((0, 2), np.int64)
    footprint = boxes.size[:, :2]
    area = footprint.prod(axis=1)
    near = SAME_PLACE * np.minimum(footprint.min(axis=1)[:, None], footprint.min(axis=1)[None])
    apart = np.linalg.norm(boxes.center[:, None] - boxes.center[None], axis=-1)
    alike = np.maximum(area[:, None], area[None]) <= SAME_SIZE * np.minimum(area[:, None], area[None])
    return np.argwhere(np.triu((apart < near) & alike & (boxes.label[:, None] != boxes.label[None]), 1))


def without_contradictions(boxes: Boxes) -> Boxes:
    """The boxes of a model without the less sure one of each pair that is one object under two classes."""
    pairs = contradictions(boxes)
    first, second = pairs.T
    kept = np.ones(len(boxes), bool)
    kept[np.where(boxes.score[first] < boxes.score[second], first, second)] = False
    return boxes[kept]


def unfit_frames(frames: Iterable[TrainingFrame]) -> list[UnfitFrame]:
    """The keyframes whose boxes contradict themselves."""
    judged = ((frame.frame, unfit_boxes(frame.boxes)) for frame in frames)
    return [UnfitFrame(moment.sample_token, moment.scene, reason) for moment, reason in judged if reason]


def check_labels(frames: Iterable[TrainingFrame], where: str) -> None:
    """Raise DataError naming the first keyframes of `where` whose boxes contradict themselves."""
    unfit = unfit_frames(frames)
    if unfit:
        places = (f"{entry.reason} in sample {entry.sample} of scene '{entry.scene}'" for entry in unfit[:NAMED])
        raise DataError(
            f"the labels of {len(unfit)} keyframes of {where} contradict themselves: {'; '.join(places)}; correct them "
            "or leave the scenes out (`kd data check` shows the boxes)"
        )


def check_large_enough(facts: Sequence[FrameFacts], name: str, least: int) -> None:
    """Raise ConfigError for a domain with fewer than `least` keyframes that have boxes: nothing can be learnt from it,
    and much be forgotten."""
    with_boxes = sum(bool(entry.present.any()) for entry in facts)
    if with_boxes < least:
        raise ConfigError(
            f"domain '{name}' has boxes on {with_boxes} of {len(facts)} keyframes, too few to learn from "
            f"(continual.buffer.least is {least}); nothing was changed: record more of it"
        )


def _name(boxes: Boxes, index: int) -> str:
    return boxes.class_of(int(index)).name
