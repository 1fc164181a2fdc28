"""Training configurations: YAML over typed dataclasses (OmegaConf), overridden by key=value arguments."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kd_perception.errors import ConfigError


@dataclass
class GridConfig:
    """Extent of the BEV grid in metres, each side of base_link, and cell size."""

    extent: float = 51.2
    cell_size: float = 0.8


@dataclass
class ViewConfig:
    """View transform: see kd_perception.student.ViewSpec."""

    kind: str = "pull"
    stride: int = 8
    depth_start: float = 1.0
    depth_step: float = 1.0
    depth_bins: int = 72
    depth_focal: float = 0.0  # pixels of the network image; see kd_perception.student.DepthBins
    heights: list[float] = field(default_factory=lambda: [0.25, 0.75, 1.5, 2.5])
    z_range: list[float] = field(default_factory=lambda: [-2.0, 4.0])


@dataclass
class TemporalConfig:
    """Memory: `frames` 1 has none, 2 fuses an earlier frame; its age in seconds: the best, and the range trained."""

    frames: int = 1
    interval: float = 0.5
    shortest: float = 0.1
    longest: float = 1.0


@dataclass
class ModelConfig:
    """Architecture: everything that fixes the shapes of the weights."""

    name: str = MISSING
    backbone: str = "efficientnet_lite0"
    image_height: int = 128
    image_width: int = 352
    cameras: int = 6
    neck_channels: int = 96
    context_channels: int = 64
    bev_channels: int = 64
    bev_blocks: int = 2
    head_shared: int = 64
    head_hidden: int = 32
    grid: GridConfig = field(default_factory=GridConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    temporal: TemporalConfig = field(default_factory=TemporalConfig)


@dataclass
class DataRoot:
    """One nuScenes-format data set: folder and version of its tables; `scenes` empty means all."""

    root: str = MISSING
    version: str = MISSING
    scenes: list[str] = field(default_factory=list)


@dataclass
class AugmentConfig:
    """Random changes of a training sample; zeros switch them off."""

    mirror: bool = True  # left-right, images and boxes alike
    bev_rotation: float = 0.39  # radians, either way
    image_scale: float = 0.05  # relative, either way
    image_rotation: float = 0.02  # radians, either way
    colour: float = 0.2  # relative brightness and contrast, either way
    camera_drop: float = 0.1  # probability that a sample loses cameras
    camera_drop_most: int = 1  # how many it loses then: one to this many, never all
    memory_drop: float = 0.15  # probability that a temporal student sees a sample as the first frame


@dataclass
class DataConfig:
    """What is trained and evaluated on."""

    roots: list[DataRoot] = MISSING
    validation: list[DataRoot] = field(default_factory=list)
    balance_classes: bool = True
    camera_motion: bool = False  # place each camera where it was at its own exposure (kd_perception.camera_motion)
    workers: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass
class LossConfig:
    """Weights of the loss terms (CenterPoint's, BEVDepth's for the depth term); 0 leaves the term out."""

    heatmap: float = 1.0
    box: float = 0.25
    velocity: float = 0.2  # code weight within the box term
    depth: float = 0.5  # cross-entropy of the range bins at LiDAR returns


@dataclass
class ScheduleConfig:
    """AdamW, linear warm-up, cosine to zero, exponential moving average of the weights."""

    steps: int = MISSING
    batch: int = 4
    learning_rate: float = 1e-3
    backbone_rate: float = 0.2  # of learning_rate
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 20.0
    ema_decay: float = 0.998
    freeze_stages: int = 2
    precision: str = "bf16-mixed"
    seed: int = 0
    save_minutes: float = 2.0
    log_steps: int = 20


@dataclass
class TrainConfig:
    """A whole training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration file and apply `key=value` overrides (dotted keys, YAML values; `data.roots.0.root=...`
    changes an entry of a list).

    Raises ConfigError naming an unknown key and the nearest valid one, a wrong type, or a missing value.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"configuration {path} does not exist; the shipped ones are in config/training/")
    try:
        given = OmegaConf.load(path)
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML ({' '.join(str(error).split())})") from error
    if not OmegaConf.is_dict(given):
        raise ConfigError(f"{path} is not a mapping of model, data, loss and schedule")
    for text in overrides:
        _override(given, text)
    return _structured(given, str(path))


def config_from_yaml(text: str, where: str) -> TrainConfig:
    """The configuration that `to_yaml` wrote."""
    return _structured(OmegaConf.create(text), where)


def to_yaml(config: TrainConfig) -> str:
    """All keys with their values."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _override(given: DictConfig, text: str) -> None:
    """Set one key from `key=value`."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"override '{text}' is not of the form key=value, for example schedule.steps=500")
    try:
        OmegaConf.update(given, key, yaml.safe_load(value))
    except (OmegaConfBaseException, yaml.YAMLError, TypeError, AssertionError) as error:
        raise ConfigError(f"override '{text}' cannot be applied ({' '.join(str(error).split())})") from error


def _structured(given: DictConfig, where: str) -> TrainConfig:
    _check_keys(OmegaConf.to_container(given), TrainConfig, "", where)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), given))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "a value"
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{where}: {key}: {reason}") from error
    return config


def _check_keys(given: dict, schema: type, prefix: str, where: str) -> None:
    """Raise ConfigError for the first key that the dataclass lacks, naming the nearest it has."""
    known = {entry.name: entry for entry in fields(schema)}
    for key, value in given.items():
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"{where}: unknown key '{prefix}{key}'; did you mean '{prefix}{near}'?")
        inner = known[key].type
        if isinstance(value, dict) and is_dataclass(inner):
            _check_keys(value, inner, f"{prefix}{key}.", where)
        elif isinstance(value, list) and inner == list[DataRoot]:
            for item in (item for item in value if isinstance(item, dict)):
                _check_keys(item, DataRoot, f"{prefix}{key}[].", where)
