"""Checks of the terms of distill.channel_groups and distill.object_weights."""

from collections.abc import Mapping

from kd_perception.errors import ConfigError
from kd_training.config.distill import DistillConfig


def check_feature_terms(config: DistillConfig, teacher: Mapping[str, int]) -> None:
    """Raise ConfigError for a number out of range; `teacher` has the channels of its layers by name."""
    if config.channel_groups.weight > 0:
        _check_groups(config, teacher)
    spread, distance = config.object_weights.spread, config.object_weights.distance
    if not 0.0 < spread < float("inf") or not 0.0 <= distance < float("inf"):
        raise ConfigError(
            f"distill.object_weights.spread is {spread:g} and distance {distance:g}; set spread above 0, and distance "
            "to 0 or more"
        )


def _check_groups(config: DistillConfig, teacher: Mapping[str, int]) -> None:
    groups = config.channel_groups.groups
    for pair in config.layers:
        channels = teacher[pair.teacher]
        if groups < 1 or channels % groups:
            raise ConfigError(
                f"distill.channel_groups.groups is {groups}, but the teacher's layer {pair.teacher} has {channels} "
                "channels; give a number that divides them"
            )
