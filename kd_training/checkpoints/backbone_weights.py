"""A user's own backbone weights: state dicts of torchvision's ResNets and of timm's models, .pth or .safetensors."""

from pathlib import Path

import torch
from torch import Tensor

from kd_perception.errors import ConfigError, DataError
from kd_training.checkpoints.checkpoint import check_cover, read_weights, with_counters, without_prefix
from kd_training.checkpoints.unreadable import UNREADABLE, reason_of
from kd_training.config.sections import ModelConfig
from kd_training.models.backbones import Backbone
from kd_training.models.backbones.efficientnet_lite import EfficientNetLite
from kd_training.models.backbones.timm import TimmBackbone

CLASSIFIER = "fc."  # the last layer of torchvision's ResNets, which is not part of a backbone


def load_backbone(backbone: Backbone, config: ModelConfig) -> None:
    """Fill the backbone from `config.backbone_weights`, without the layers behind its last level.

    Raises ConfigError if the backbone brings weights of its own, DataError if the file is missing, unreadable or does
    not cover the backbone.
    """
    path = Path(config.backbone_weights)
    if isinstance(backbone, EfficientNetLite):
        raise ConfigError(
            f"model.backbone_weights {path} is for ResNet and timm backbones; {config.backbone} comes with its own, so "
            "leave the key out"
        )
    network = backbone.network if isinstance(backbone, TimmBackbone) else backbone
    state = without_prefix(path, _read(path), network.state_dict())
    if isinstance(backbone, TimmBackbone):
        given = backbone.matching(state)
    else:
        given = {name: value for name, value in state.items() if not name.startswith(CLASSIFIER)}
    given = with_counters(given, network.state_dict())
    check_cover(path, given, network.state_dict(), f"give weights of {config.backbone} with the names of its library")
    network.load_state_dict(given)


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name of either kind of file."""
    if path.suffix == ".safetensors":
        return read_weights(path)[0]
    if not path.is_file():
        raise DataError(f"model.backbone_weights {path} does not exist; give a .pth or .safetensors file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise DataError(
            f"{path} is no readable file of weights alone ({reason_of(error)}); save a state_dict with "
            "torch.save, or give .safetensors"
        ) from error
    return _state_dict(path, state)


def _state_dict(path: Path, state: object) -> dict[str, Tensor]:
    """The weights themselves, or the only ones under a key next to other things, as frameworks save them."""
    if _is_weights(state):
        return state
    inner = [key for key, value in state.items() if _is_weights(value)] if isinstance(state, dict) else []
    if len(inner) != 1:
        found = f" (under {', '.join(map(str, inner))})" if inner else ""
        raise DataError(f"{path} holds more than weights{found}; save the network's state_dict alone")
    return state[inner[0]]


def _is_weights(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(entry, Tensor) for entry in value.values())
