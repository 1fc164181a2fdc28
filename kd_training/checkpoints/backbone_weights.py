"""A user's own backbone weights: state dicts of torchvision's ResNets and of timm's models, .pth or .safetensors."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from kd_perception.errors import ConfigError, DataError
from kd_training.checkpoints.checkpoint import check_cover, read_weights
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
    state = _read(path)
    if isinstance(backbone, TimmBackbone):
        network, given = backbone.network, backbone.matching(state)
    else:
        network = backbone
        given = {name: value for name, value in state.items() if not name.startswith(CLASSIFIER)}
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
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{path} is no readable file of weights alone ({str(error).splitlines()[0]}); save a state_dict with "
            "torch.save, or give .safetensors"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path} holds more than weights; save the network's state_dict alone")
    return state
