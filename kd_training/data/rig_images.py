"""One rig at one moment as a student takes it: images, read and augmented, and what follows from the calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kd_perception.datasets.nuscenes import CameraImage, Frame
from kd_perception.errors import DataError
from kd_perception.geometry.camera import Camera, same_rig
from kd_perception.student.camera_params import camera_params
from kd_perception.student.preprocess import fit_camera, network_image
from kd_perception.student.spec import StudentSpec
from kd_training.batches.student_inputs import CameraInputs
from kd_training.data.augment import Augmentation
from kd_training.data.view_terms import PlacedTerms, ReferencePoints, ViewTerms, join_terms, view_terms


@dataclass(frozen=True)
class RigGeometry:
    """What follows from a rig's calibration: network_from_image N x (3, 3), camera_params (N, K) or None, and the
    view's terms."""

    network_from_image: tuple[np.ndarray, ...]
    camera_params: np.ndarray | None
    terms: ViewTerms | ReferencePoints


class RigGeometries:
    """Geometry of rigs under augmentations; the last stays in memory, so that moments of one rig share it."""

    def __init__(self, spec: StudentSpec) -> None:
        self.spec = spec
        self._last: tuple[Sequence[Camera], Augmentation, RigGeometry] | None = None

    def of(self, cameras: Sequence[Camera], augmentation: Augmentation) -> RigGeometry:
        """The geometry of a rig in the augmented ego frame and in augmented images. Do not write into it."""
        last = self._last  # one thread may replace it while another looks
        if last is not None and same_rig(last[0], cameras) and augmentation.same_geometry(last[1]):
            return last[2]
        geometry = self._made(cameras, augmentation)
        self._last = cameras, augmentation, geometry
        return geometry

    def _made(self, cameras: Sequence[Camera], augmentation: Augmentation) -> RigGeometry:
        spec = self.spec
        affines = tuple(
            network_from_network @ fit_camera(camera, spec.image_size)
            for network_from_network, camera in zip(augmentation.network_from_network, cameras, strict=True)
        )
        cameras = augmentation.cameras(cameras)
        params = camera_params(spec.image_size, cameras, affines) if spec.camera_params else None
        return RigGeometry(affines, params, view_terms(spec, cameras, affines))


@dataclass(frozen=True)
class RigImages:
    """One rig at one moment: images (N, H, W, 3) uint8, camera_valid (N,), and its geometry."""

    images: np.ndarray
    camera_valid: np.ndarray
    geometry: RigGeometry


def rig_images(geometries: RigGeometries, frame: Frame, augmentation: Augmentation) -> RigImages:
    """A moment's images, read and augmented; raises DataError naming a file that is missing or damaged."""
    size = geometries.spec.image_size
    geometry = geometries.of([image.camera for image in frame.images], augmentation)
    images = np.zeros((len(frame.images), *size, 3), np.uint8)
    valid = np.ones(len(images), np.float32)
    for index, (image, affine) in enumerate(zip(frame.images, geometry.network_from_image, strict=True)):
        if image.path is None or index in augmentation.dropped:
            valid[index] = 0.0
        else:
            images[index] = augmentation.tint(_read(image, affine, size), index)
    return RigImages(images, valid, geometry)


def _read(image: CameraImage, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    try:
        return network_image(image.read(), (image.camera.height, image.camera.width), affine, size)
    except DataError as error:
        if str(image.path) in str(error):
            raise
        raise DataError(f"image {image.path}: {error}") from error


def join_rigs(spec: StudentSpec, rigs: Sequence[RigImages | None]) -> tuple[CameraInputs, dict[str, Tensor]]:
    """Cameras and terms of several rigs, images behind each other, indices moved by what stands before; None is a rig
    without anything, which keeps its place."""
    there = [(place, rig) for place, rig in enumerate(rigs) if rig is not None]
    first = np.cumsum([0] + [len(rig.images) for _, rig in there])[:-1]
    placed = [
        PlacedTerms(place, int(begin), rig.geometry.terms) for (place, rig), begin in zip(there, first, strict=True)
    ]
    terms = join_terms(spec, placed, len(rigs))
    if not there:
        return _no_cameras(spec), terms
    cameras = CameraInputs(
        images=_joined([rig.images for _, rig in there]),
        camera_valid=_joined([rig.camera_valid for _, rig in there]),
        camera_params=_joined([rig.geometry.camera_params for _, rig in there]) if spec.camera_params else None,
    )
    return cameras, terms


def _no_cameras(spec: StudentSpec) -> CameraInputs:
    images = torch.zeros(0, *spec.image_size, 3, dtype=torch.uint8)
    params = torch.zeros(0, spec.camera_params) if spec.camera_params else None
    return CameraInputs(images, torch.zeros(0), params)


def _joined(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))
