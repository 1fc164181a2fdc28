"""One rig at one moment as a student takes it: images, read and augmented, and what follows from the calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kd_perception.datasets.nuscenes import CameraImage, Frame
from kd_perception.errors import DataError
from kd_perception.geometry.camera import same_rig
from kd_perception.student.camera_params import camera_params
from kd_perception.student.preprocess import fit_camera, network_image
from kd_perception.student.spec import StudentSpec
from kd_training.batches.student_inputs import CameraInputs
from kd_training.data.augment import Augmentation
from kd_training.data.view_terms import PlacedTerms, ReferencePoints, ViewTerms, join_terms, view_terms


@dataclass(frozen=True)
class RigImages:
    """One rig at one moment: images (N, H, W, 3) uint8, camera_valid (N,), camera_params (N, K) or None,
    network_from_image N x (3, 3), and the view's terms."""

    images: np.ndarray
    camera_valid: np.ndarray
    camera_params: np.ndarray | None
    network_from_image: tuple[np.ndarray, ...]
    terms: ViewTerms | ReferencePoints


def rig_images(
    spec: StudentSpec, frame: Frame, augmentation: Augmentation, known: tuple[Frame, RigImages] | None = None
) -> RigImages:
    """A moment's images, read and augmented; raises DataError naming a file that is missing or damaged.

    `known`: another frame under the same augmentation, whose geometry is taken over if its calibration is the same.
    """
    affines = tuple(
        network_from_network @ fit_camera(image.camera, spec.image_size)
        for network_from_network, image in zip(augmentation.network_from_network, frame.images, strict=True)
    )
    images = np.zeros((len(frame.images), *spec.image_size, 3), np.uint8)
    valid = np.ones(len(images), np.float32)
    for index, (image, affine) in enumerate(zip(frame.images, affines, strict=True)):
        if image.path is None or index in augmentation.dropped:
            valid[index] = 0.0
        else:
            images[index] = augmentation.tint(_read(image, affine, spec.image_size), index)
    if known is not None and _same_rig(known[0], frame):
        return RigImages(images, valid, known[1].camera_params, affines, known[1].terms)
    cameras = augmentation.cameras([image.camera for image in frame.images])
    params = camera_params(spec.image_size, cameras, affines) if spec.camera_params else None
    return RigImages(images, valid, params, affines, view_terms(spec, cameras, affines))


def _read(image: CameraImage, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    try:
        return network_image(image.read(), (image.camera.height, image.camera.width), affine, size)
    except DataError as error:
        if str(image.path) in str(error):
            raise
        raise DataError(f"image {image.path}: {error}") from error


def _same_rig(first: Frame, second: Frame) -> bool:
    return same_rig([image.camera for image in first.images], [image.camera for image in second.images])


def join_rigs(spec: StudentSpec, rigs: Sequence[RigImages | None]) -> tuple[CameraInputs, dict[str, Tensor]]:
    """Cameras and terms of several rigs, images behind each other, indices moved by what stands before; None is a rig
    without anything, which keeps its place."""
    there = [(place, rig) for place, rig in enumerate(rigs) if rig is not None]
    first = np.cumsum([0] + [len(rig.images) for _, rig in there])[:-1]
    placed = [PlacedTerms(place, int(begin), rig.terms) for (place, rig), begin in zip(there, first, strict=True)]
    terms = join_terms(spec, placed, len(rigs))
    if not there:
        return _no_cameras(spec), terms
    cameras = CameraInputs(
        images=_joined([rig.images for _, rig in there]),
        camera_valid=_joined([rig.camera_valid for _, rig in there]),
        camera_params=_joined([rig.camera_params for _, rig in there]) if spec.camera_params else None,
    )
    return cameras, terms


def _no_cameras(spec: StudentSpec) -> CameraInputs:
    images = torch.zeros(0, *spec.image_size, 3, dtype=torch.uint8)
    params = torch.zeros(0, spec.camera_params) if spec.camera_params else None
    return CameraInputs(images, torch.zeros(0), params)


def _joined(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))
