"""Which runs take the same batches, so that they can share them: arms of a comparison that differ in losses, teachers'
terms and length only."""

from collections.abc import Sequence
from dataclasses import replace

from omegaconf import OmegaConf

from kd_perception.errors import ConfigError
from kd_training.config.experiment import AnyConfig, TrainConfig


def batches_key(config: AnyConfig) -> str:
    """Equal for two trainings whose batches are the same, clouds for a LiDAR teacher aside; empty where a training
    shares its batches with no other: teachers, and students of a camera teacher."""
    if not isinstance(config, TrainConfig) or config.cross_scale.teacher:
        return ""
    data = replace(config.data, validation=[], workers=0, cloud_cache_bytes=0)
    schedule, with_depth = config.schedule, config.loss.depth > 0
    parts = [OmegaConf.to_yaml(OmegaConf.structured(part)) for part in (config.model, data, config.continual)]
    return "\n".join([*parts, f"{schedule.seed} {schedule.batch} {schedule.total_batch} {with_depth}"])


def reader_of(configs: Sequence[AnyConfig]) -> int:
    """The index of the one whose batches serve all: one with clouds, if any has a LiDAR teacher.

    Raises ConfigError where the batches are not the same.
    """
    if len(configs) == 1:
        return 0
    keys, teachers = {batches_key(config) for config in configs}, {_clouds_of(config) for config in configs} - {""}
    if len(keys) > 1 or "" in keys or len(teachers) > 1:
        raise ConfigError(
            "runs that train together must take the same batches: give them the same model, data, batch and seed, at "
            "most one LiDAR teacher, and no camera teacher"
        )
    return next((index for index, config in enumerate(configs) if _clouds_of(config)), 0)


def _clouds_of(config: AnyConfig) -> str:
    """The LiDAR teacher that a training's batches have clouds for, if any."""
    if not isinstance(config, TrainConfig) or config.distill.cache_bytes:
        return ""
    return config.distill.teacher
