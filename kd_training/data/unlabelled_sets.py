"""A student's keyframes where some are not labelled: data.roots, and data.unlabelled with a teacher's labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kd_perception.datasets.nuscenes import scene_samples
from kd_perception.datasets.rigs import check_anchor
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import ClassList
from kd_training.config.continual import ContinualConfig
from kd_training.config.sections import DataConfig, DataRoot
from kd_training.data.frames import NO_KEYFRAMES, Dataset, KeyFrames, open_dataset
from kd_training.data.lacking_classes import lacking_classes
from kd_training.data.pseudo_labels import PseudoLabelFolder
from kd_training.data.replay import open_replay

LABELS_FOLDER = "labels"  # in data.pseudo.folder


def open_student_frames(config: DataConfig, classes: ClassList, continual: ContinualConfig | None = None) -> KeyFrames:
    """All keyframes: the labelled ones, the unlabelled ones with the labels in data.pseudo.folder, those of a replay
    buffer. Classes that the labels of the new domain lack are as `lacking_classes` says.

    Raises as open_frames and open_replay; ConfigError where labelled and unlabelled overlap or nobody made labels.
    """
    continual = continual or ContinualConfig()
    lacking = lacking_classes(continual, classes)
    data_sets = [
        data_set if data_set.labels is not None else replace(data_set, lacking=lacking)
        for data_set in own_sets(config, classes)
    ]
    if continual.replay.folder:
        data_sets.append(open_replay(continual.replay, config, classes))
    check_anchor(config.anchor, [data_set.nusc for data_set in data_sets])
    frames = KeyFrames(data_sets)
    if not frames:
        raise DataError(NO_KEYFRAMES)
    return frames


def own_sets(config: DataConfig, classes: ClassList) -> list[Dataset]:
    """The data sets of data.roots, and of data.unlabelled with their labels; raises as open_student_frames."""
    labelled = open_sets(config.roots, config, classes)
    if not config.unlabelled:
        return labelled
    unlabelled = open_sets(config.unlabelled, config, classes)
    check_apart(labelled, unlabelled)
    labels = PseudoLabelFolder(Path(config.pseudo.folder) / LABELS_FOLDER, classes)
    return [*labelled, *(replace(data_set, labels=labels) for data_set in unlabelled)]


def open_sets(sources: Sequence[DataRoot], config: DataConfig, classes: ClassList) -> list[Dataset]:
    """The data sets, read as the student reads them."""
    return [
        open_dataset(source, classes, camera_motion=config.camera_motion, anchor=config.anchor) for source in sources
    ]


def check_apart(labelled: Sequence[Dataset], unlabelled: Sequence[Dataset]) -> None:
    """Raise ConfigError if a keyframe is in both: a student would hear two truths, and an experiment its hidden one;
    DataError if nothing is unlabelled."""
    tokens = {
        token for data_set in labelled for scene in data_set.scenes for token in scene_samples(data_set.nusc, scene)
    }
    count = 0
    for data_set in unlabelled:
        for scene in data_set.scenes:
            samples = scene_samples(data_set.nusc, scene)
            count += len(samples)
            if shared := next((token for token in samples if token in tokens), ""):
                raise ConfigError(
                    f"sample {shared} of scene '{scene}' is in data.roots and in data.unlabelled ({data_set.name}); "
                    "give each scene to one of them (scenes: [...])"
                )
    if not count:
        raise DataError("data.unlabelled holds no keyframes; name at least one data set with scenes")
