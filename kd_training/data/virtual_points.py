"""Virtual points (MVP, arXiv:2111.06881): points that image instances add to a sparse cloud.

Pixels are drawn in an instance's mask; each takes the range of the nearest LiDAR return inside the mask, in pixels, and
is lifted through the camera. Masks lie next to the data set as `datasets.masks_and_depth` describes; a name in their
.json is an annotation's token, or a class for masks of a segmentation network.
"""

import zlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from kd_perception.datasets.devkit import NuScenes
from kd_perception.datasets.masks_and_depth import InstanceMask, read_mask
from kd_perception.datasets.nuscenes import CameraImage
from kd_perception.errors import DataError
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.transforms import apply, invert
from kd_training.config.teacher import VirtualPointsConfig
from kd_training.data.camera_returns import CameraReturns
from kd_training.data.frames import TrainingFrame

COLUMNS = 6  # as PointBatch says: x, y, z, intensity, age, 1 + class


def virtual_points(frame: TrainingFrame, returns: Sequence[CameraReturns], config: VirtualPointsConfig) -> np.ndarray:
    """Virtual points (V, 6) float32 of a keyframe in its ego: intensity and age are 0. The same every time.

    `returns` of each camera are of the keyframe's own sweep: older returns lie where things were. Raises
    DataError without masks.
    """
    rng = np.random.default_rng(zlib.crc32(frame.frame.sample_token.encode()))
    parts = [np.zeros((0, COLUMNS))]
    for image, seen in zip(frame.frame.images, returns, strict=True):
        if image.path is None:
            continue
        mask = read_mask(frame.nusc.dataroot, image.path)
        shape = (image.camera.height, image.camera.width)
        if mask.index.shape != shape:
            raise DataError(
                f"the mask of {image.path} has {mask.index.shape[1]} x {mask.index.shape[0]} pixels, the picture "
                f"{shape[1]} x {shape[0]}; make it again from this picture"
            )
        ego_from_camera = invert(frame.frame.global_from_ego) @ image.global_from_ego @ image.camera.ego_from_camera
        for label, pixels in noisy_instances(frame.nusc, mask, frame.boxes.classes, config, rng):
            lifted = lift_instance(image, seen, pixels, config.per_instance, rng)
            points = np.zeros((len(lifted), COLUMNS))
            points[:, :3] = apply(ego_from_camera, lifted)
            points[:, 5] = 1 + label
            parts.append(points)
    return np.concatenate(parts).astype(np.float32)


def noisy_instances(
    nusc: NuScenes, mask: InstanceMask, classes: ClassList, config: VirtualPointsConfig, rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray]]:
    """Class and pixels (H, W) bool of a mask's instances, with the mistakes that the configuration asks for."""
    for index, name in mask.annotation_of.items():
        label = _label_of(nusc, name, classes)
        if label is None or rng.random() < config.missed:
            continue
        if rng.random() < config.wrong_class:
            label = _another(label, len(classes), rng)
        pixels = mask.index == index
        if config.edge_pixels:
            pixels = _moved_edge(pixels, int(rng.integers(-config.edge_pixels, config.edge_pixels + 1)))
        if np.count_nonzero(pixels) >= max(1, config.least_pixels):
            yield label, pixels


def lift_instance(
    image: CameraImage, returns: CameraReturns, mask: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Up to `count` points (V, 3) of one instance in the camera frame; none without a return inside the mask (H, W)."""
    columns, rows = returns.pixels.astype(np.int64).T
    own = mask[rows, columns]
    if not own.any():
        return np.zeros((0, 3))
    inside = np.flatnonzero(mask)
    chosen = inside[rng.choice(len(inside), min(count, len(inside)), replace=False)]
    drawn = np.stack([chosen % mask.shape[1], chosen // mask.shape[1]], axis=1) + 0.5
    distance = np.linalg.norm(drawn[:, None] - returns.pixels[own][None], axis=-1)
    lifted = image.camera.unproject(drawn) * returns.ranges[own][distance.argmin(axis=1), None]
    return lifted[np.isfinite(lifted).all(axis=1)]


def _another(label: int, classes: int, rng: np.random.Generator) -> int:
    """Another class, drawn evenly; the same where there is only one."""
    return (label + int(rng.integers(1, classes))) % classes if classes > 1 else label


def _label_of(nusc: NuScenes, name: str, classes: ClassList) -> int | None:
    """Label of a mask's name: an annotation's token, or a class; None if it belongs to none of the classes."""
    if name in classes.names:
        return classes.label(name)
    try:
        category = nusc.get("sample_annotation", name)["category_name"]
    except KeyError as error:
        raise DataError(
            f"a mask of {nusc.dataroot} names '{name}', which is neither an annotation of its tables nor a class; make "
            "the masks again from these tables"
        ) from error
    return classes.label_of_category.get(category)


def _moved_edge(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask grown by so many pixels, or shrunk if negative."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1,) * 2)
    change = cv2.dilate if pixels > 0 else cv2.erode
    return change(mask.astype(np.uint8), kernel).astype(bool) if pixels else mask
