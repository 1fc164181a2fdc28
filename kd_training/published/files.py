"""A published checkpoint's tensors and what it says of itself, read without running any code of it."""

import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd_perception.errors import DataError
from kd_training.checkpoints.checkpoint import read_weights
from kd_training.checkpoints.unreadable import UNREADABLE, reason_of

HOLDERS = ("state_dict", "model_state", "model")  # keys of mmdetection3d and Lightning, of OpenPCDet, of others
WRAPPERS = ("module.", "model.")  # what DDP and Lightning put before every name
VERSION_KEYS = ("mmdet3d_version", "mmengine_version")


@dataclass(frozen=True)
class PublishedFile:
    """Tensors by name; `framework` is the major version of mmdetection3d that wrote them, None if it is not said;
    `voxel` is the voxel's size in metres along x, from the configuration inside, None if there is none."""

    path: Path
    state: dict[str, Tensor]
    framework: int | None = None
    voxel: float | None = None


def read_published(path: Path) -> PublishedFile:
    """Read .pth, .pt, .ckpt or .safetensors; raises DataError if it is none, has no tensors, or could run code."""
    if path.suffix == ".safetensors":
        return PublishedFile(path, _unwrapped(read_weights(path)[0]))
    if not path.is_file():
        raise DataError(f"checkpoint {path} does not exist; give a .pth, .ckpt or .safetensors file")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise DataError(_refusal(path, error)) from error
    meta = held.get("meta") if isinstance(held, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    return PublishedFile(path, _unwrapped(_tensors(path, held)), _framework(meta), _voxel(meta))


def _refusal(path: Path, error: Exception) -> str:
    """Why a file was not read, with the first object in it that is no tensor, if that is why."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if found is None:
        return f"{path} is no readable checkpoint ({reason_of(error)}); download it again, or save it with torch.save"
    return (
        f"{path} holds Python objects next to its tensors ({found[1]}), and reading them could run code: refused. "
        "Where you trust it, save its tensors alone: "
        "torch.save(torch.load(FILE, weights_only=False)['state_dict'], OTHER)"
    )


def _tensors(path: Path, held: object) -> dict[str, Tensor]:
    """The state dict itself, or the one under a framework's key."""
    if isinstance(held, dict):
        for candidate in (held, *(held.get(key) for key in HOLDERS)):
            tensors = candidate if isinstance(candidate, dict) else {}
            if tensors and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()):
                return dict(tensors)
    raise DataError(
        f"{path} has no weights by name, neither by itself nor under {', '.join(HOLDERS)}; save the network's "
        "state_dict"
    )


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): value for name, value in state.items()}
    return state


def _framework(meta: dict) -> int | None:
    version = str(meta.get(VERSION_KEYS[0], ""))
    if version[:1].isdigit():
        return int(version.split(".")[0])
    return 1 if VERSION_KEYS[1] in meta else None  # mmengine came with mmdetection3d 1.1


def _voxel(meta: dict) -> float | None:
    text = meta.get("config") or meta.get("cfg") or ""
    found = re.search(r"voxel_size\s*=\s*\[\s*([0-9.]+)", text if isinstance(text, str) else "")
    return float(found[1]) if found else None
