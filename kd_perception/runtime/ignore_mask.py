"""Where a camera sees the robot's own body: a picture or polygons, as a file for each camera.

What is ignored is black for the network, and no cell of the grid looks there (geometry.camera). Black is what a student
was trained to take for no picture: the same as beyond the picture's border.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

from kd_perception.errors import ConfigError
from kd_perception.named_files import named_files

PICTURES, POLYGONS = (".png",), (".yaml", ".yml")
WHITE = 128  # grey values from here on are ignored
MOST = 0.9  # share of the picture; more is a mask the wrong way round
KEYS = {"size", "polygons"}


def load_ignore_masks(given: Sequence[str], cameras: Collection[str]) -> dict[str, np.ndarray]:
    """Masks (height, width) bool, true where ignored, by camera name; `given`: entries CAMERA=FILE.

    Raises ConfigError for a camera that is not one of `cameras`, and for a file that is missing or no mask.
    """
    files = named_files(given, "ignore_mask")
    for name in files:
        if name not in cameras:
            raise ConfigError(f"ignore_mask names camera '{name}', but the cameras are {', '.join(cameras)}")
    return {name: _read_mask(path) for name, path in files.items()}


def _read_mask(path: Path) -> np.ndarray:
    if path.suffix.lower() in PICTURES:
        mask = _read_picture(path)
    elif path.suffix.lower() in POLYGONS:
        mask = _read_polygons(path)
    else:
        raise ConfigError(
            f"ignore_mask {path} is neither a picture (.png) nor polygons (.yaml); save it as one of them"
        )
    share = mask.mean()
    if share > MOST:
        raise ConfigError(
            f"ignore_mask {path} covers {100 * share:.0f} % of the picture; white is what is ignored, is it the wrong "
            "way round?"
        )
    mask.flags.writeable = False
    return mask


def _read_picture(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ConfigError(f"ignore_mask {path} is no readable PNG; save it again, white where pixels are ignored")
    return image >= WHITE


def _read_polygons(path: Path) -> np.ndarray:
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"ignore_mask {path} is no readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or set(content) != KEYS:
        raise ConfigError(
            f"ignore_mask {path} must have the keys size, [width, height], and polygons, a list of lists of [u, v]"
        )
    width, height = _size(content["size"], path)
    mask = np.zeros((height, width), bool)
    polygons = content["polygons"]
    for number, given in enumerate(polygons if isinstance(polygons, list) else [polygons], start=1):
        points = _points(given, f"ignore_mask {path}: polygon {number}")
        low, high = points.min(axis=0), points.max(axis=0)
        if (low < 0).any() or (high > [width, height]).any():
            worst = points[((points < 0) | (points > [width, height])).any(axis=1)][0]
            raise ConfigError(
                f"ignore_mask {path}: polygon {number} has the point {worst[0]:g}, {worst[1]:g} outside the picture of "
                f"{width}x{height} pixels; correct the point or the size"
            )
        mask |= _inside(points, width, height)
    return mask


def _inside(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels (height, width) bool whose centres, at .5, are inside a polygon (N, 2); OpenCV would add its rim."""
    mask = np.zeros((height, width), bool)
    (u, v), (next_u, next_v) = points.T, np.roll(points, -1, axis=0).T
    for row in range(height):
        crossed = (v <= row + 0.5) != (next_v <= row + 0.5)
        share = (row + 0.5 - v[crossed]) / (next_v - v)[crossed]
        columns = np.ceil(np.sort(u[crossed] + share * (next_u - u)[crossed]) - 0.5).astype(int)
        for left, right in zip(columns[::2], columns[1::2], strict=True):
            mask[row, left:right] = True
    return mask


def _size(given: object, path: Path) -> tuple[int, int]:
    if not (isinstance(given, list) and len(given) == 2 and all(type(v) is int and v > 0 for v in given)):
        raise ConfigError(f"ignore_mask {path}: size is {given}, but must be [width, height] in pixels")
    return given[0], given[1]


def _points(given: object, where: str) -> np.ndarray:
    """Corners (N, 2) of a polygon."""
    try:
        points = np.array(given, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ConfigError(f"{where} must be a list of three or more points [u, v] in pixels")
    return points
