"""Masks and depth next to a rendered set, for teachers: 16-bit PNG files named after the pictures they belong to.

`masks/CAM_*/NAME.png` holds 0 or an object's index; `NAME.json` next to it maps the index to a sample_annotation token.
An object that is too far away to be annotated is in the picture but not in the map. `depth/CAM_*/NAME.png` holds the
RANGE along a pixel's ray (not z) in centimetres, 0 where the ray hits nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kd_perception.atomic import atomic_path
from kd_perception.errors import DataError

CENTIMETRES = 100.0
FARTHEST = 65535 / CENTIMETRES  # metres; what lies beyond counts as nothing


@dataclass(frozen=True, eq=False)
class InstanceMask:
    """For every pixel the object's index, 0 for none (H, W) uint16; and the annotation token of every index."""

    index: np.ndarray
    annotation_of: dict[int, str]

    def of(self, annotation: str) -> np.ndarray:
        """The pixels (H, W) bool of one annotation."""
        indices = [index for index, token in self.annotation_of.items() if token == annotation]
        return np.isin(self.index, indices)


def picture_path(dataroot: Path, kind: str, filename: str) -> Path:
    """Where the picture of a `kind` ('masks' or 'depth') lies that belongs to a sample_data row's `filename`."""
    path = Path(filename)
    return Path(dataroot) / kind / path.parent.name / f"{path.stem}.png"


def write_mask(target: Path, owner: np.ndarray, annotation_of: dict[int, str]) -> None:
    """Write an instance mask: `owner` (H, W) is an object's number from 0 or -1, `annotation_of` its tokens."""
    shown = {int(actor) for actor in np.unique(owner)} & set(annotation_of)
    with atomic_path(target.with_suffix(".json")) as path:
        path.write_text(json.dumps({str(actor + 1): annotation_of[actor] for actor in sorted(shown)}))
    _write_png(target, (owner + 1).astype(np.uint16))


def read_mask(dataroot: Path, filename: str) -> InstanceMask:
    """The mask of the picture `filename`; raises DataError if the set was rendered without masks."""
    path = picture_path(dataroot, "masks", filename)
    index = _read_png(path, "--masks")
    tokens = json.loads(path.with_suffix(".json").read_text())
    return InstanceMask(index, {int(key): token for key, token in tokens.items()})


def write_depth(target: Path, distance: np.ndarray) -> None:
    """Write ranges (H, W) in metres, infinite where there is nothing."""
    near = np.where(distance < FARTHEST, distance, 0.0)
    _write_png(target, np.round(near * CENTIMETRES).astype(np.uint16))


def read_depth(dataroot: Path, filename: str) -> np.ndarray:
    """Range along each pixel's ray (H, W) float32 in metres, infinite where there is nothing.

    Raises DataError if the set was rendered without depth.
    """
    stored = _read_png(picture_path(dataroot, "depth", filename), "--depth")
    return np.where(stored > 0, stored / np.float32(CENTIMETRES), np.float32(np.inf)).astype(np.float32)


def _write_png(target: Path, image: np.ndarray) -> None:
    ok, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise RuntimeError(f"OpenCV could not encode {target} as PNG")
    with atomic_path(target) as path:
        path.write_bytes(data.tobytes())


def _read_png(path: Path, option: str) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise DataError(f"{path} is missing or no 16-bit picture; render the set again with {option}")
    return image
