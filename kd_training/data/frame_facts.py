"""What a run asks of all its keyframes before it starts: little of each, so that it fits for any number of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.datasets.nuscenes import scene_row
from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import ClassList
from kd_training.data.pseudo_labels import PseudoLabels

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables


@dataclass(frozen=True)
class FrameFacts:
    """A keyframe's name among all data sets, the folder of its data set and its scene; channels of its LiDARs, and of
    cameras that it lacks; present (classes,) bool: which classes its boxes have; `labelled` as TrainingFrame's;
    `drawn`: its probability among replayed keyframes, None for one that is not replayed."""

    key: str
    data_set: str
    scene: str
    lidars: tuple[str, ...]
    masked: tuple[str, ...]
    present: np.ndarray
    labelled: bool = True
    drawn: float | None = None


def scene_facts(
    nusc: "Tables",
    scene: str,
    samples: Sequence[str],
    classes: ClassList,
    labels: Mapping[str, PseudoLabels] | None = None,
) -> list[FrameFacts]:
    """Facts of samples of a scene, from the index alone, or of `labels` by sample.

    Raises ConfigError for a sample that `labels` lack.
    """
    without = [] if labels is None else [sample for sample in samples if sample not in labels]
    if without:
        raise ConfigError(
            f"{len(without)} of {len(samples)} keyframes of scene '{scene}' in {nusc.dataroot} have no labels of a "
            f"teacher, the first is sample {without[0]}: the data set has changed since; run kd label again"
        )
    rig, data_set = nusc.rigs[scene_row(nusc, scene)["token"]], f"{nusc.dataroot}/{nusc.version}"
    label_of = np.array([classes.label_of_category.get(row["name"], -1) for row in nusc.category], np.int64)
    facts = []
    for sample in samples:
        sensors = nusc.key_rows(sample)
        found = _annotated(nusc, sample, label_of) if labels is None else labels[sample].boxes.label
        present = np.bincount(found, minlength=len(classes)) > 0
        lidars = tuple(name for name in rig.lidars if name in sensors)
        masked = tuple(name for name in rig.cameras if name not in sensors)
        facts.append(FrameFacts(f"{data_set}/{sample}", data_set, scene, lidars, masked, present, labels is None))
    return facts


def _annotated(nusc: "Tables", sample: str, label_of: np.ndarray) -> np.ndarray:
    """Labels of a sample's annotations that have points and a class; `label_of` by category, -1 for none."""
    rows = nusc.sample_rows("sample_annotation", sample)
    counts = nusc.index["sample_annotation.points"][rows] != 0
    labels = label_of[nusc.index["sample_annotation.category"][rows[counts]]]
    return labels[labels >= 0]
