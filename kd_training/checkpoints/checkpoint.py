"""Checkpoints: weights as safetensors with their configuration, and a state file from which a run resumes exactly."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from kd_perception.atomic import write_bytes
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import ClassList
from kd_training.checkpoints.unreadable import UNREADABLE, reason_of
from kd_training.config.experiment import (
    AnyConfig,
    TeacherTrainConfig,
    TrainConfig,
    config_from_yaml,
    configured_coding,
    to_yaml,
)
from kd_training.config.retired import check_retired
from kd_training.config.student_spec import configured_classes
from kd_training.models.grown_head import grown_weights
from kd_training.models.recoding import recoded_weights

CONFIG_KEY = "kd_config"
WEIGHTS_FILE = "weights.safetensors"
STATE_FILE = "state.pt"
STATE_ENTRIES = ("step", "config", "model", "ema", "optimizer", "helper", "task")  # helper: the adapters
# Weights that a resumed task compares by digest, wherever they lie now: a checkout may move.
COMPARED_BY_CONTENT = ("distill.teacher", "distill.labels.encoder", "cross_scale.teacher", "continual.student")


def save_weights(state: dict[str, Tensor], config: AnyConfig, target: Path) -> None:
    """Write weights with their configuration, atomically."""
    write_weights(state, to_yaml(config), target)


def write_weights(state: dict[str, Tensor], config: str, target: Path) -> None:
    """As save_weights; `config` is what `to_yaml` says, which takes a tenth of a second."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_bytes(target, save(tensors, {CONFIG_KEY: config}))


def read_weights(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Tensors of a safetensors file and the configuration (YAML) it carries, if any; DataError if it is unreadable."""
    if not Path(path).is_file():
        raise DataError(f"weights file {path} does not exist; give a .safetensors file")
    try:
        with safe_open(str(path), "pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}, (stream.metadata() or {}).get(CONFIG_KEY)
    except SafetensorError as error:
        raise DataError(
            f"{path} is no readable safetensors file ({error}); it is truncated or of another format"
        ) from error


def file_digest(path: Path) -> str:
    """SHA-256 of a weights file, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def checkpoint_config(path: Path) -> AnyConfig:
    """The configuration that a checkpoint was trained with; raises ConfigError if it carries none."""
    _, text = read_weights(path)
    if text is None:
        raise ConfigError(f"{path} carries no configuration; only files that kd train wrote can be exported or run")
    return config_from_yaml(text, str(path))


def load_weights(
    model: nn.Module,
    path: Path,
    may_lack: Sequence[Sequence[str]] = (),
    reinitialised: Sequence[str] = (),
    *,
    classes: ClassList | None = None,
) -> None:
    """Fill the model; raises DataError if a tensor is missing, unknown or of another shape.

    From a file of another coding of boxes come the codes that both have (`recoding`).

    `may_lack` names groups of modules, by prefix, that add nothing at first: a file without tensors of a group leaves
    the group as it is. `reinitialised` names parts of the model that keep their values, whatever the file holds;
    ConfigError if the model has no such part. `classes` are the model's where the file may be of a student that knew
    fewer of them (`grown_head`).
    """
    parts = dict(model.named_children())
    for part in reinitialised:
        if part not in parts:
            raise ConfigError(f"schedule.anew names '{part}', but the model's parts are {', '.join(parts)}")
    given, text = read_weights(path)
    given = without_prefix(path, given, model.state_dict())
    config = None if text is None else config_from_yaml(text, str(path))
    if classes is not None and isinstance(config, TrainConfig):
        given = grown_weights(given, configured_classes(config.model.classes, str(path)), classes, model)
    if isinstance(config, TrainConfig | TeacherTrainConfig):
        given = recoded_weights(given, configured_coding(config), model)
    given = {name: value for name, value in given.items() if not _within(name, reinitialised)}
    wanted = {name: value for name, value in model.state_dict().items() if not _within(name, reinitialised)}
    for group in may_lack:
        if not any(_within(name, group) for name in given):
            wanted = {name: value for name, value in wanted.items() if not _within(name, group)}
    check_cover(path, given, wanted, "use the configuration it was trained with")
    model.load_state_dict(given, strict=len(wanted) == len(model.state_dict()))


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def without_prefix(path: Path, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the network's own names, where DDP or a framework put `module.`, `backbone.` ... before them.

    Other parts of such a file are left out. Raises DataError if several parts of it could be the network.
    """
    probe = next(iter(wanted))
    prefixes = [name.removesuffix(probe) for name in given if name.endswith(f".{probe}")]
    fitting = [prefix for prefix in prefixes if all(f"{prefix}{name}" in given for name in wanted if _needed(name))]
    if probe in given or not fitting:
        return dict(given)
    if len(fitting) > 1:
        raise DataError(
            f"{path} has the network more than once, under {', '.join(fitting)}; save one of them, without its prefix"
        )
    return {name.removeprefix(fitting[0]): value for name, value in given.items() if name.startswith(fitting[0])}


def with_counters(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with the counters of batch norms, which older PyTorch did not write: nothing reads them here."""
    return {**{name: value for name, value in wanted.items() if not _needed(name)}, **given}


def _needed(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def check_cover(path: Path, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], advice: str) -> None:
    """Raise DataError, which ends in `advice`, if a wanted tensor is missing, unknown or of another shape."""
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    shapes = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    for what, names in (("lacks", missing), ("has the unknown", unknown), ("has another shape for", shapes)):
        if names:
            longer = next((name for name in given if name.endswith(f".{names[0]}")), "")
            instead = f", but {longer}" if longer and what == "lacks" else ""
            raise DataError(
                f"{path} does not fit this model: it {what} {names[0]}{instead} ({len(names)} of {len(wanted)} "
                f"tensors); {advice}"
            )


def save_state(state: dict[str, Any], target: Path) -> None:
    """Write the state that a run resumes from, atomically."""
    buffer = io.BytesIO()  # torch's own writer does not report a full disk
    torch.save(state, buffer)
    write_bytes(target, buffer.getvalue())


def load_state(folder: Path, config: AnyConfig) -> dict[str, Any]:
    """Read a run's state; raises DataError if absent or damaged, ConfigError if the run had another configuration."""
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        raise DataError(f"{folder} holds no {STATE_FILE} to resume from; give the output folder of an earlier kd train")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise DataError(f"{path} is damaged ({reason_of(error)}); start again or use --weights") from error
    lacking = [name for name in STATE_ENTRIES if not isinstance(state, dict) or name not in state]
    if lacking:
        raise DataError(f"{path} is no state that kd train wrote (it lacks {lacking[0]}); start again or use --weights")
    check_retired(OmegaConf.create(state["config"]), f"the configuration in {path}")
    before = config_from_yaml(state["config"], f"the configuration in {path}")
    if type(before) is not type(config):
        raise ConfigError(
            f"{folder} holds a run of another kind (student, teacher or label encoder); give another folder"
        )
    changed = _first_difference(asdict(before), asdict(config))
    if changed:
        raise ConfigError(
            f"{folder} was trained with another configuration: {changed}; resume with the same one, or start from its "
            "weights with --weights"
        )
    return state


def _first_difference(before: object, now: object, key: str = "") -> str:
    """The first value that is not as it was, as `key was x and is y`; empty if there is none."""
    if isinstance(before, dict) and isinstance(now, dict):
        parts = (_first_difference(before.get(name), now[name], f"{key}.{name}".lstrip(".")) for name in now)
        return next(filter(None, parts), "")
    moved = key in COMPARED_BY_CONTENT and before and now
    return "" if moved or before == now else f"{key} was {before} and is {now}"
