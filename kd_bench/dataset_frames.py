"""Frames to measure with: images and calibrations of a data set, as a robot receives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.drawing.cameras import encode_image
from kd_perception.geometry.camera import Camera
from kd_perception.images.decoding import decode_image
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate

LARGE = (1600, 900)  # width, height, as nuScenes' cameras
MOMENTS = 8  # of that size: each takes seconds


@dataclass(frozen=True)
class BenchFrame:
    """One moment of a rig: calibrations and encoded images in rig order, None for a camera without an image."""

    cameras: tuple[Camera, ...]
    images: tuple[bytes | None, ...]


def render_frames(folder: Path, frames: int = 10, seed: int = 424242) -> Path:
    """Render a synthetic scene to measure with into `folder` and return it: a data set of SYNTHETIC_VERSION."""
    generate(SynthConfig(folder, scenes=1, frames=frames, seed=seed, sweeps=0, jobs=1))
    return folder


def render_moments(folder: Path, seed: int = 4242) -> Path:
    """Render MOMENTS keyframes of 1600 x 900 into `folder`, unless they are there: a data set of SYNTHETIC_VERSION."""
    if not (folder / SYNTHETIC_VERSION / "sample.json").is_file():
        width, height = LARGE
        generate(SynthConfig(folder, scenes=1, frames=MOMENTS, seed=seed, width=width, height=height, sweeps=0, jobs=1))
    return folder


def read_frames(dataroot: Path, version: str, count: int, seed: int = 0) -> list[BenchFrame]:
    """The first `count` keyframes of a data set.

    If it has fewer, they repeat with another exposure, contrast and noise, and one camera missing. Raises DataError if
    the data set or an image file is missing.
    """
    nusc = open_nuscenes(dataroot, version)
    tokens = [token for scene in scene_names(nusc) for token in scene_samples(nusc, scene)][:count]
    originals = []
    for token in tokens:
        frame = load_frame(nusc, token)
        cameras = tuple(image.camera for image in frame.images)
        originals.append(BenchFrame(cameras, tuple(image.read() for image in frame.images)))
    generator = np.random.default_rng(seed)
    again = [_varied(originals[i % len(originals)], generator) for i in range(len(originals), count)]
    return originals + again


def count_missing(frames: Sequence[BenchFrame]) -> int:
    """Frames in which a camera has no image."""
    return sum(None in frame.images for frame in frames)


def _varied(frame: BenchFrame, generator: np.random.Generator) -> BenchFrame:
    """The same moment with another exposure, contrast and noise, one camera missing."""
    gain, offset = generator.uniform(0.6, 1.4), generator.uniform(-25.0, 25.0)
    images: list[bytes | None] = []
    for camera, data in zip(frame.cameras, frame.images, strict=True):
        if data is None:
            images.append(None)
            continue
        image = decode_image(data, camera.name) * gain + offset
        noisy = image + generator.normal(0.0, 4.0, image.shape[:2])[..., None]
        images.append(encode_image(np.clip(noisy, 0, 255).astype(np.uint8)))
    images[generator.integers(len(images))] = None
    return BenchFrame(frame.cameras, tuple(images))
