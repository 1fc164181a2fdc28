"""Boxes of a few keyframes on their pictures."""

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.data_check.labels import LabelArrays
from kd_perception.datasets.nuscenes import Frame, ground_truth_boxes, load_frame
from kd_perception.drawing.cameras import draw_camera
from kd_perception.errors import DataError
from kd_perception.geometry.classes import NUSCENES, ClassList, HeadGroup, ObjectClass
from kd_perception.images.decoding import decode_image

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

MOST_KEYFRAMES = 3
MOST_CAMERAS = 6  # of a keyframe


def draw_labels(nusc: "Tables", samples: Sequence[str], labels: LabelArrays) -> dict[str, np.ndarray]:
    """Pictures (h, w, 3) RGB by a name: of the keyframes with most boxes, one a scene, where files are there."""
    counts = {sample: len(nusc.get("sample", sample)["anns"]) for sample in samples}
    best: dict[str, str] = {}
    for sample in sorted(samples, key=lambda sample: -counts[sample]):
        best.setdefault(nusc.get("sample", sample)["scene_token"], sample)
    pictures: dict[str, np.ndarray] = {}
    classes = every_category(labels.categories)
    for sample in list(best.values())[:MOST_KEYFRAMES]:
        if nusc.rig_of(sample).cameras:
            pictures |= _draw_frame(nusc, load_frame(nusc, sample), classes)
    return pictures


def _draw_frame(nusc: "Tables", frame: Frame, classes: ClassList) -> dict[str, np.ndarray]:
    pictures = {}
    for image in frame.images[:MOST_CAMERAS]:
        try:
            data = image.read()
            if data is None:
                continue
            boxes, _ = ground_truth_boxes(nusc, frame.sample_token, image.global_from_ego, classes)
            name = f"{frame.scene}, {image.camera.name}"
            pictures[name] = draw_camera(decode_image(data, str(image.path)), image.camera, boxes)
        except DataError:
            continue  # another finding names the file
    return pictures


def every_category(categories: Sequence[str]) -> ClassList:
    """A class list in which every category is a class of its own."""
    colors = cycle(entry.color for entry in NUSCENES.classes)
    classes = [ObjectClass(name, color, 50.0, (name,)) for name, color in zip(categories, colors, strict=False)]
    return ClassList((HeadGroup(1.0, tuple(classes)),)) if classes else NUSCENES
