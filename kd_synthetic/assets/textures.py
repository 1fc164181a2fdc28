"""Textures: smooth noise, mip pyramids, and bilinear look-ups at the resolution a pixel needs (so distant ground
does not sparkle).
"""

from dataclasses import dataclass

import cv2
import numpy as np


def smooth_noise(
    shape: tuple[int, int], cell: float, octaves: int, rng: np.random.Generator, gain: float = 0.5
) -> np.ndarray:
    """Multi-octave noise (H, W) float32 of zero mean and about unit deviation; `cell` is the size of the coarsest
    blobs in pixels.
    """
    total = np.zeros(shape, np.float32)
    weight = 1.0
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        grid = rng.standard_normal(
            (int(np.ceil(shape[0] / size)) + 2, int(np.ceil(shape[1] / size)) + 2), dtype=np.float32
        )
        big = cv2.resize(grid, (int(grid.shape[1] * size), int(grid.shape[0] * size)), interpolation=cv2.INTER_CUBIC)
        total += weight * big[: shape[0], : shape[1]]
        weight *= gain
    return (total - total.mean()) / (total.std() + 1e-6)


def remap(image: np.ndarray, x: np.ndarray, y: np.ndarray, border: int) -> np.ndarray:
    """Bilinear samples (N, C) of an image at pixel positions (N,); rows of 1024 because OpenCV limits image sides."""
    count = len(x)
    channels = image.shape[2] if image.ndim == 3 else 1
    if count == 0:
        return np.zeros((0, channels), image.dtype)
    rows = -(-count // 1024)
    grid = np.full((2, rows * 1024), -9.0, np.float32)
    grid[0, :count], grid[1, :count] = x, y
    out = cv2.remap(
        image, grid[0].reshape(rows, 1024), grid[1].reshape(rows, 1024), cv2.INTER_LINEAR, borderMode=border
    )
    return out.reshape(rows * 1024, channels)[:count]


@dataclass(frozen=True, eq=False)
class MipPyramid:
    """An image at halved resolutions; `texel` is the finest level's size in the units of the coordinates it is
    sampled with.
    """

    levels: tuple[np.ndarray, ...]
    texel: float
    border: int

    @staticmethod
    def of(image: np.ndarray, texel: float, count: int, border: int = cv2.BORDER_REPLICATE) -> "MipPyramid":
        """MipPyramid of up to `count` levels over `image` (H, W) or (H, W, C)."""
        levels = [image]
        while len(levels) < count and min(levels[-1].shape[:2]) >= 4:
            height, width = levels[-1].shape[:2]
            levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
        return MipPyramid(tuple(levels), texel, border)

    def sample(self, x: np.ndarray, y: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """Samples (N, C) float32 at coordinates x, y (N,) for pixels that cover `footprint` (N,) of the same units."""
        wanted = np.log2(np.maximum(footprint, 1e-6) / self.texel)
        level = np.clip(np.rint(wanted), 0, len(self.levels) - 1).astype(np.int8)
        channels = self.levels[0].shape[2] if self.levels[0].ndim == 3 else 1
        out = np.empty((len(x), channels), np.float32)
        for index, image in enumerate(self.levels):
            mask = np.flatnonzero(level == index)
            if len(mask):
                sx = image.shape[1] / (self.levels[0].shape[1] * self.texel)
                sy = image.shape[0] / (self.levels[0].shape[0] * self.texel)
                out[mask] = remap(image, x[mask] * sx - 0.5, y[mask] * sy - 0.5, self.border)
        return out


def wrap_sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples (N, C) of a tile that repeats; x, y in tiles."""
    height, width = image.shape[:2]
    return remap(image, (x - np.floor(x)) * width - 0.5, (y - np.floor(y)) * height - 0.5, cv2.BORDER_WRAP)
