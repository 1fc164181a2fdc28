"""Training configurations as a whole: YAML over typed dataclasses (OmegaConf), overridden by key=value arguments.

A file with `teacher:` trains a LiDAR teacher, one with `labels:` a label encoder for a teacher; one with `model:` a
student, distilled if its `distill:` or its `cross_scale:` names a teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import get_args, get_origin

import msgspec
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import read_classes
from kd_perception.student.box_codes import BoxCoding, Heading, coding_of
from kd_training.config.continual import ContinualConfig
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.distill import DistillConfig
from kd_training.config.labels import LabelDataConfig, LabelModelConfig
from kd_training.config.retired import drop_retired
from kd_training.config.sections import (
    DataConfig,
    DetectionLossConfig,
    LossConfig,
    ModelConfig,
    PseudoConfig,
    ScheduleConfig,
    StudentScheduleConfig,
)
from kd_training.config.teacher import LidarDataConfig, TeacherModelConfig

PRECISIONS = ("bf16-mixed", "32-true")
CLASSIFIERS = ("model", "teacher")  # the sections that have a class list


@dataclass
class TrainConfig:
    """A student's whole training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    cross_scale: CrossScaleConfig = field(default_factory=CrossScaleConfig)
    continual: ContinualConfig = field(default_factory=ContinualConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    schedule: StudentScheduleConfig = field(default_factory=StudentScheduleConfig)


@dataclass
class TeacherTrainConfig:
    """A teacher's whole training run."""

    teacher: TeacherModelConfig = field(default_factory=TeacherModelConfig)
    data: LidarDataConfig = field(default_factory=LidarDataConfig)
    loss: DetectionLossConfig = field(default_factory=DetectionLossConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


@dataclass
class LabelTrainConfig:
    """A label encoder's whole training run."""

    labels: LabelModelConfig = field(default_factory=LabelModelConfig)
    data: LabelDataConfig = field(default_factory=LabelDataConfig)
    loss: DetectionLossConfig = field(default_factory=DetectionLossConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


AnyConfig = TrainConfig | TeacherTrainConfig | LabelTrainConfig
SUBJECTS = {"model": TrainConfig, "teacher": TeacherTrainConfig, "labels": LabelTrainConfig}  # by what a file has


def load_config(path: Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """Read a configuration file and apply `key=value` overrides (dotted keys, YAML values; `data.roots.0.root=...`
    changes an entry of a list). `base:` in a file names another, relative to it, whose values it changes.
    `classes:` names the YAML file of a class list, relative to the file that says so.

    Raises ConfigError naming an unknown key and the nearest valid one, a wrong type, or a missing value.
    """
    given = _read_yaml(Path(path), ())
    for text in overrides:
        _override(given, text)
    return _structured(given, str(path))


def load_student_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """As load_config; raises ConfigError if the file is no student's."""
    return student_config(load_config(path, overrides), str(path))


def student_config(config: AnyConfig, where: str) -> TrainConfig:
    """The configuration itself; raises ConfigError if it is of another kind."""
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"{where} is {_whose(config)}; give a student's, which has model:")
    return config


def teacher_config(config: AnyConfig, where: str) -> TeacherTrainConfig:
    """The configuration itself; raises ConfigError if it is of another kind."""
    if not isinstance(config, TeacherTrainConfig):
        raise ConfigError(f"{where} is {_whose(config)}; give a teacher's, which has teacher:")
    return config


def label_config(config: AnyConfig, where: str) -> LabelTrainConfig:
    """The configuration itself; raises ConfigError if it is of another kind."""
    if not isinstance(config, LabelTrainConfig):
        raise ConfigError(f"{where} is {_whose(config)}; give a label encoder's, which has labels:")
    return config


def _whose(config: AnyConfig) -> str:
    """In words, with its name."""
    if isinstance(config, TrainConfig):
        return f"a student's ({config.model.name})"
    if isinstance(config, TeacherTrainConfig):
        return f"a teacher's ({config.teacher.name})"
    return f"a label encoder's ({config.labels.name})"


def config_from_yaml(text: str, where: str) -> AnyConfig:
    """The configuration that `to_yaml` wrote.

    Older versions wrote no `heading`: their models code it as Heading.vector. They wrote retired keys, too.
    """
    given = OmegaConf.create(text)
    for section in CLASSIFIERS:
        if section in given and "heading" not in given[section]:
            given[section].heading = Heading.vector.value
    drop_retired(given)
    return _structured(given, where)


def configured_coding(config: TrainConfig | TeacherTrainConfig) -> BoxCoding:
    """How the model of a configuration codes boxes."""
    return coding_of(config.teacher.heading if isinstance(config, TeacherTrainConfig) else config.model.heading)


def to_yaml(config: AnyConfig) -> str:
    """All keys with their values."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _read_yaml(path: Path, above: tuple[Path, ...]) -> DictConfig:
    """A file's values over those of its base; `above`: the files that led to it."""
    if not path.is_file():
        raise ConfigError(f"configuration {path} does not exist; the shipped ones are in config/")
    if path.resolve() in above:
        raise ConfigError(f"configuration {path} is its own base; remove one base: of the circle")
    try:
        given = OmegaConf.load(path)
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML ({' '.join(str(error).split())})") from error
    if not OmegaConf.is_dict(given):
        raise ConfigError(f"{path} is not a mapping of model (or teacher, or labels), data, loss and schedule")
    for section in CLASSIFIERS:
        if isinstance(name := OmegaConf.select(given, f"{section}.classes"), str):
            given[section].classes = str(path.parent / name)
    base = given.pop("base", None)
    if base is None:
        return given
    return OmegaConf.merge(_read_yaml(path.parent / str(base), (*above, path.resolve())), given)


def _override(given: DictConfig, text: str) -> None:
    """Set one key from `key=value`; `key=` clears a text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"override '{text}' is not of the form key=value, for example schedule.steps=500")
    try:
        OmegaConf.update(given, key, yaml.safe_load(value) if value else "")
    except (OmegaConfBaseException, yaml.YAMLError, TypeError, AssertionError) as error:
        raise ConfigError(f"override '{text}' cannot be applied ({' '.join(str(error).split())})") from error


def _structured(given: DictConfig, where: str) -> AnyConfig:
    subjects = [name for name in ("teacher", "labels", "model") if name in given]
    if len(subjects) > 1:
        raise ConfigError(
            f"{where} has both {subjects[0]}: and {subjects[1]}:; a run trains one of them, and a distilled student "
            "names its teacher's weights in distill.teacher"
        )
    schema = SUBJECTS[subjects[0] if subjects else "model"]
    _read_class_files(given)
    _check_keys(OmegaConf.to_container(given), schema, "", where)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(_defaults(schema), given))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "a value"
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{where}: {key}: {reason}") from error
    unlabelled = [*config.data.unlabelled, *config.data.pseudo.calibration] if isinstance(config, TrainConfig) else []
    for source in (*config.data.roots, *config.data.validation, *unlabelled):
        source.root = source.root or config.data.root
    _check_schedule(config.schedule, where)
    _check_loss(config.loss, where)
    if isinstance(config, TrainConfig):
        _check_pseudo(config.data.pseudo, where)
    return config


@cache
def _defaults(schema: type[AnyConfig]) -> DictConfig:
    """A kind of run with nothing given; made once, because it takes longer than all else about a configuration."""
    return OmegaConf.structured(schema)


def _read_class_files(given: DictConfig) -> None:
    """Put the class list itself in the place of its file's name, so that a checkpoint carries it."""
    for section in CLASSIFIERS:
        if isinstance(name := OmegaConf.select(given, f"{section}.classes"), str):
            given[section].classes = msgspec.to_builtins(read_classes(Path(name)))


def _check_schedule(schedule: ScheduleConfig, where: str) -> None:
    if (schedule.steps > 0) == (schedule.epochs > 0):
        raise ConfigError(f"{where}: give either schedule.steps or schedule.epochs, a number above 0")
    if schedule.precision not in PRECISIONS:
        raise ConfigError(
            f"{where}: schedule.precision is '{schedule.precision}'; it is one of {', '.join(PRECISIONS)}"
        )
    if not 0 <= schedule.seed < 2**32:
        raise ConfigError(f"{where}: schedule.seed is {schedule.seed}; give a whole number from 0 to {2**32 - 1}")
    if schedule.batch < 1 or schedule.total_batch < 0:
        raise ConfigError(f"{where}: schedule.batch is at least 1 and schedule.total_batch at least 0")


def _check_loss(loss: DetectionLossConfig, where: str) -> None:
    for name in ("smooth", "overlap"):
        if not 0.0 <= getattr(loss, name) < float("inf"):
            raise ConfigError(
                f"{where}: loss.{name} is {getattr(loss, name):g}; give 0, which switches it off, or more"
            )


def _check_pseudo(pseudo: PseudoConfig, where: str) -> None:
    for name in ("precision", "recall"):
        if not 0.0 < getattr(pseudo, name) <= 1.0:
            raise ConfigError(f"{where}: data.pseudo.{name} is {getattr(pseudo, name):g}; give a share from 0 to 1")
    if not 0.0 <= pseudo.share < 1.0:
        raise ConfigError(f"{where}: data.pseudo.share is {pseudo.share:g}; give a share from 0 to below 1")
    if not pseudo.weight > 0.0 or pseudo.tracked < 1:
        raise ConfigError(f"{where}: data.pseudo.weight is above 0 and data.pseudo.tracked at least 1")


def _check_keys(given: object, schema: type, prefix: str, where: str) -> None:
    """Raise ConfigError for the first key that the dataclass lacks, naming the nearest it has, and for a value in the
    place of a section."""
    known = {entry.name: entry.type for entry in fields(schema)}
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: {prefix.removesuffix('.')} is {given!r}; it is a section with {', '.join(known)}")
    for key, value in given.items():
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"{where}: unknown key '{prefix}{key}'; did you mean '{prefix}{near}'?")
        inner = known[key]
        if is_dataclass(inner):
            _check_keys(value, inner, f"{prefix}{key}.", where)
        elif isinstance(value, list) and get_origin(inner) is list and is_dataclass(get_args(inner)[0]):
            for item in value:
                _check_keys(item, get_args(inner)[0], f"{prefix}{key}[].", where)
