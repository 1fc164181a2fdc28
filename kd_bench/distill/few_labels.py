"""Which scenes of the training split are labelled, and for whom, where labels are few."""

from dataclasses import replace

from kd_bench.ledger.splits import Split
from kd_training.config.sections import DataRoot

HELD_BACK = 4  # one in so many of few labelled scenes is kept from a teacher


def labelled(train: Split, every: int) -> DataRoot:
    """The training split with the labels of every n-th scene only."""
    return replace(train.source, scenes=list(train.scenes[::every])) if every > 1 else train.source


def shown_to_teacher(train: Split, every: int) -> DataRoot:
    """The scenes that a teacher learns from: all, or of every n-th all but a quarter, see `held_back`."""
    source, kept = labelled(train, every), held_back(train, every).scenes
    return replace(source, scenes=[scene for scene in source.scenes if scene not in kept])


def held_back(train: Split, every: int) -> DataRoot:
    """Labelled scenes that say how far such a teacher's answers can be trusted: on its own it is always sure."""
    source = labelled(train, every)
    count = len(source.scenes) // HELD_BACK
    return replace(source, scenes=source.scenes[len(source.scenes) - count :])
