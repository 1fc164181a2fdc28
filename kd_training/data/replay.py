"""Keyframes of a replay buffer as training frames: drawn by score, weighted so that the loss is the buffer's mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import ClassList
from kd_training.config.continual import ReplayConfig
from kd_training.config.sections import DataConfig, DataRoot
from kd_training.data.frame_facts import FrameFacts
from kd_training.data.frames import Dataset, TrainingFrame, open_dataset
from kd_training.data.replay_buffer import (
    BUFFER_VERSION,
    ReplayBuffer,
    doubt_of,
    read_buffer,
    replay_probabilities,
    replay_weights,
)


@dataclass(frozen=True)
class ReplayedFrames:
    """What a buffer says of its keyframes, by sample: probability of a draw and weight of the losses."""

    buffer: ReplayBuffer = field(repr=False)
    classes: ClassList = field(repr=False)
    drawn: Mapping[str, float] = field(repr=False)
    weight: Mapping[str, float] = field(repr=False)

    def fact(self, sample: str, found: FrameFacts) -> FrameFacts:
        """The facts with who labelled the keyframe and how often it is drawn."""
        return replace(found, labelled=self.buffer.by_sample[sample].labelled, drawn=self.drawn[sample])

    def frame(self, sample: str, made: TrainingFrame) -> TrainingFrame:
        """The frame with who labelled it, what is in doubt, and its weight."""
        entry = self.buffer.by_sample[sample]
        doubt = doubt_of(self.buffer, entry, self.classes)
        return replace(made, labelled=entry.labelled, doubt=doubt, weight=self.weight[sample])


def open_replay(config: ReplayConfig, data: DataConfig, classes: ClassList) -> Dataset:
    """The keyframes of continual.replay.folder, read as the student reads `data`.

    Raises ConfigError for a share that is none, DataError for a folder that holds no buffer, a broken or an empty one.
    """
    if not 0.0 <= config.weight < float("inf"):
        raise ConfigError(f"continual.replay.weight is {config.weight:g}; give 0 or a positive number")
    if not 0.0 < config.share < 1.0:
        raise ConfigError(f"continual.replay.share is {config.share:g}; give a share above 0 and below 1")
    buffer = read_buffer(Path(config.folder))
    if not buffer.entries:
        raise DataError(f"replay buffer {buffer.folder} is empty; add a domain, or leave continual.replay.folder out")
    source = DataRoot(root=config.folder, version=BUFFER_VERSION)
    data_set = open_dataset(source, classes, camera_motion=data.camera_motion, anchor=data.anchor)
    if set(buffer.by_sample) != {row["token"] for row in data_set.nusc.sample}:
        raise DataError(
            f"replay buffer {buffer.folder} is broken: its tables have other keyframes than its list; delete it and "
            "add its domains again"
        )
    samples, scores = list(buffer.by_sample), np.array([entry.score for entry in buffer.entries])
    drawn = replay_probabilities(scores if config.importance else np.ones(len(scores)))
    weights = config.weight * replay_weights(drawn)
    by_sample = [dict(zip(samples, map(float, values), strict=True)) for values in (drawn, weights)]
    return replace(data_set, replay=ReplayedFrames(buffer, classes, *by_sample))
