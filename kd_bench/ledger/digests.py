"""What makes a training unique: a digest of all that decides its result."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from kd_training.checkpoints.checkpoint import file_digest
from kd_training.config.continual import ContinualConfig
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.experiment import AnyConfig, LabelTrainConfig, TeacherTrainConfig
from kd_training.config.feature_terms import ChannelGroupsConfig, ObjectWeightsConfig, VolumeAttentionConfig
from kd_training.config.retired import with_retired
from kd_training.config.sections import DataRoot, PseudoConfig

DIGITS = 16  # of a digest


class YoungerKey(NamedTuple):
    """A key of the configuration that the ledger's first runs did not have, and the value that means what they did."""

    section: str
    name: str
    before: Any


YOUNGER_KEYS: tuple[YoungerKey, ...] = (
    YoungerKey("distill", "channel_groups", asdict(ChannelGroupsConfig())),
    YoungerKey("distill", "volume_attention", asdict(VolumeAttentionConfig())),
    YoungerKey("distill", "object_weights", asdict(ObjectWeightsConfig())),
    YoungerKey("loss", "smooth", 0.0),
    YoungerKey("loss", "overlap", 0.0),
)
YOUNGER_SECTIONS = {  # and the values that mean what runs without the section did
    "continual": ContinualConfig(),
    "cross_scale": CrossScaleConfig(),
}


def training_digest(config: AnyConfig, start: Path | None, identities: Mapping[str, str], *further: str) -> str:
    """A digest of everything that decides a training's result.

    Files count by their content, and data sets by `identities`: what stands for each root. Paths, times of saving and
    memory for caches do not count.
    """
    schedule = replace(config.schedule, save_minutes=0.0, log_steps=1, keep_steps=[])
    data = replace(config.data, roots=_by_content(config.data.roots, identities), validation=[], workers=0)
    changes = {"schedule": schedule, "data": data}
    if isinstance(config, TeacherTrainConfig):
        changes["data"] = replace(data, cache_bytes=0)
    elif isinstance(config, LabelTrainConfig):
        changes["labels"] = replace(config.labels, teacher=content_digest(Path(config.labels.teacher)))
    else:
        calibration = _by_content(data.pseudo.calibration, identities)
        pseudo = replace(data.pseudo, folder=PseudoConfig().folder, calibration=calibration)
        unlabelled = _by_content(data.unlabelled, identities)
        changes["data"] = replace(data, root="", cloud_cache_bytes=0, unlabelled=unlabelled, pseudo=pseudo)
        distill, scale = config.distill, config.cross_scale
        files = (distill.teacher, distill.labels.encoder, scale.teacher)
        teacher, encoder, finer = (content_digest(Path(name)) if name else "" for name in files)
        labels = replace(distill.labels, encoder=encoder)
        changes["distill"] = replace(distill, teacher=teacher, labels=labels, teacher_recipe="", cache_bytes=0)
        changes["cross_scale"] = replace(scale, teacher=finer, teacher_recipe="")
    parts = (hashed_yaml(replace(config, **changes)), content_digest(start) if start else "", *further)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


def _by_content(sources: Sequence[DataRoot], identities: Mapping[str, str]) -> list[DataRoot]:
    """Parts of data sets, wherever those lie."""
    return [replace(source, root=identities[source.root], version="") for source in sources]


def hashed_yaml(config: AnyConfig, younger: Sequence[YoungerKey] = YOUNGER_KEYS) -> str:
    """All keys that count; those that are younger than the ledger only where they have another value than before, and
    those that it knew and that are retired."""
    keys = OmegaConf.to_container(OmegaConf.structured(config))
    for name, before in YOUNGER_SECTIONS.items():
        if keys.get(name) == OmegaConf.to_container(OmegaConf.structured(before)):
            del keys[name]
    for key in younger:
        if key.name in keys.get(key.section, {}) and keys[key.section][key.name] == key.before:
            del keys[key.section][key.name]
    return OmegaConf.to_yaml(OmegaConf.create(with_retired(keys)))


def content_digest(path: Path) -> str:
    """SHA-256 of a file's content: a plan asks for the same few files over and over."""
    return _digest_at(path, path.stat().st_mtime_ns)


@lru_cache
def _digest_at(path: Path, _: int) -> str:
    """Of a file as it was at one time."""
    return file_digest(path)
