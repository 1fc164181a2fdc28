"""Configuration of label encoders: true boxes painted as features that a frozen teacher's neck and head can read."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from kd_training.config.sections import DataRoot
from kd_training.config.teacher import LidarAugmentConfig


@dataclass
class LabelModelConfig:
    """A label encoder: grid, classes and levels are those of its teacher, so it belongs to one teacher's weights."""

    name: str = MISSING
    teacher: str = MISSING  # weights file that `kd train` wrote
    channels: int = 64  # of the painted raster


@dataclass
class LabelDataConfig:
    """Whose boxes are painted; images and clouds are not read."""

    root: str = ""  # of data sets that name none
    roots: list[DataRoot] = MISSING
    validation: list[DataRoot] = field(default_factory=list)
    balance_classes: bool = True
    anchor: str = ""  # as DataConfig's
    workers: int = 0
    augment: LidarAugmentConfig = field(default_factory=LidarAugmentConfig)
