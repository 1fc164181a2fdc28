"""Batches as a function of the step: the same seed and step give the same batch, so that a resumed run continues bit by
bit."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from kd_perception.boxes import CLASSES
from kd_perception.errors import DataError
from kd_perception.preprocess import fit_image, network_image
from kd_perception.student import StudentSpec
from kd_training.config import AugmentConfig
from kd_training.data.augment import Augmentation, draw_augmentation, no_augmentation
from kd_training.data.frames import TrainingFrame
from kd_training.data.targets import NO_DEPTH, DetectionTargets, depth_labels, detection_targets
from kd_training.models.view import ViewTerms, view_terms


@dataclass(frozen=True)
class Sample:
    """One rig: images (N, H, W, 3) uint8, camera_valid (N,), depth labels (N, h, w), the view's terms, the targets."""

    images: np.ndarray
    camera_valid: np.ndarray
    depth: np.ndarray
    terms: ViewTerms
    targets: DetectionTargets


@dataclass(frozen=True)
class Batch:
    """B rigs, their images behind each other. `objects` (K,): rig, group, row, column int64; codes (K, 10)."""

    rigs: int
    images: Tensor
    camera_valid: Tensor
    depth: Tensor
    terms: dict[str, Tensor]
    heatmap: Tensor
    objects: dict[str, Tensor]
    codes: Tensor


def make_sample(spec: StudentSpec, frame: TrainingFrame, augmentation: Augmentation, with_depth: bool) -> Sample:
    """Read a frame's files and build its arrays; raises DataError naming a file that is missing or damaged."""
    images, affines = [], []
    rows, columns = spec.feature_size
    for index, image in enumerate(frame.frame.images):
        source_size = (image.camera.height, image.camera.width)
        affine = augmentation.network_from_network[index] @ fit_image(source_size, spec.image_size)
        affines.append(affine)
        if index == augmentation.dropped:
            images.append(np.zeros((*spec.image_size, 3), np.uint8))
            continue
        if not image.path.is_file():
            raise DataError(
                f"image {image.path} is missing; restore it or choose scenes whose files are there "
                "(data.roots[].scenes)"
            )
        images.append(
            augmentation.tint(network_image(image.path.read_bytes(), source_size, affine, spec.image_size), index)
        )
    valid = np.ones(len(images), np.float32)
    valid[augmentation.dropped : augmentation.dropped + 1] = 0.0 if augmentation.dropped >= 0 else valid[-1:]
    depth = np.full((len(images), rows, columns), NO_DEPTH, np.int64)
    if with_depth:
        for index, (returns, affine) in enumerate(zip(frame.returns, affines, strict=True)):
            if index != augmentation.dropped:
                depth[index] = depth_labels(spec, frame.cameras[index], returns, affine)
    return Sample(
        images=np.stack(images),
        camera_valid=valid,
        depth=depth,
        terms=view_terms(spec, augmentation.cameras(frame.cameras), affines),
        targets=detection_targets(frame.boxes.transformed(augmentation.target_from_ego), spec.grid),
    )


def collate(samples: list[Sample], spec: StudentSpec) -> Batch:
    """Join samples: images behind each other, indices moved by what stands before."""
    cells = spec.grid.shape[0] * spec.grid.shape[1]
    pixels = spec.feature_size[0] * spec.feature_size[1]
    cameras = np.cumsum([0] + [len(sample.images) for sample in samples])
    steps = {
        "cell": cells * np.arange(len(samples)),
        "pixel": pixels * cameras,
        "depth": pixels * spec.view.depth.count * cameras,
        "weight": cameras * 0,
    }
    terms = {
        name: torch.from_numpy(
            np.concatenate(
                [
                    getattr(sample.terms, name) + step[i].astype(getattr(sample.terms, name).dtype)
                    for i, sample in enumerate(samples)
                ]
            )
        )
        for name, step in steps.items()
    }
    objects = {
        name: torch.from_numpy(np.concatenate([getattr(sample.targets, name) for sample in samples]))
        for name in ("group", "row", "column")
    }
    objects["rig"] = torch.from_numpy(
        np.repeat(np.arange(len(samples)), [len(sample.targets.row) for sample in samples])
    )
    return Batch(
        rigs=len(samples),
        images=torch.from_numpy(np.concatenate([sample.images for sample in samples])),
        camera_valid=torch.from_numpy(np.concatenate([sample.camera_valid for sample in samples])),
        depth=torch.from_numpy(np.concatenate([sample.depth for sample in samples])),
        terms=terms,
        heatmap=torch.from_numpy(np.stack([sample.targets.heatmap for sample in samples])),
        objects=objects,
        codes=torch.from_numpy(np.concatenate([sample.targets.codes for sample in samples])),
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with every tensor on `device`."""
    moved = {}
    for entry in fields(Batch):
        value = getattr(batch, entry.name)
        if isinstance(value, Tensor):
            value = value.to(device)
        elif isinstance(value, dict):
            value = {name: tensor.to(device) for name, tensor in value.items()}
        moved[entry.name] = value
    return Batch(**moved)


class StepBatches(torch.utils.data.Dataset):
    """Maps a step to this process's batch; use with a DataLoader of batch_size None and the steps as sampler.

    With `balance`, a frame is drawn the more often the rarer its classes are (a light form of class-balanced grouping
    and sampling, arXiv:1908.09492); without, every epoch is a permutation.
    """

    def __init__(
        self, spec: StudentSpec, frames: tuple[TrainingFrame, ...], augment: AugmentConfig, batch: int, seed: int,
        balance: bool, with_depth: bool, rank: int = 0, world_size: int = 1,
    ) -> None:  # fmt: skip
        self.spec, self.frames, self.augment = spec, frames, augment
        self.batch, self.seed, self.with_depth = batch, seed, with_depth
        self.rank, self.world_size = rank, world_size
        self.weights = frame_weights(frames) if balance else None

    def __getitem__(self, step: int) -> Batch:
        samples = []
        for slot in range(self.batch):
            position = (step * self.world_size + self.rank) * self.batch + slot
            rng = np.random.default_rng([self.seed, position])
            frame = self.frames[self._frame_at(position, rng)]
            augmentation = draw_augmentation(rng, self.augment, len(frame.frame.images), self.spec.image_size)
            samples.append(make_sample(self.spec, frame, augmentation, self.with_depth))
        return collate(samples, self.spec)

    def _frame_at(self, position: int, rng: np.random.Generator) -> int:
        if self.weights is not None:
            return int(rng.choice(len(self.frames), p=self.weights))
        epoch, index = divmod(position, len(self.frames))
        return int(np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.frames))[index])


def evaluation_batch(spec: StudentSpec, frame: TrainingFrame) -> Batch:
    """One frame as it is, without depth labels."""
    return collate([make_sample(spec, frame, no_augmentation(len(frame.frame.images)), with_depth=False)], spec)


def frame_weights(frames: tuple[TrainingFrame, ...]) -> np.ndarray:
    """Sampling probability (frames,): mean over the frame's classes of 1 / sqrt(share of frames with that class)."""
    present = np.array([np.bincount(frame.boxes.label, minlength=len(CLASSES)) > 0 for frame in frames])
    rarity = 1.0 / np.sqrt(np.maximum(present.mean(axis=0), 1.0 / len(frames)))
    weights = (present * rarity).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    weights = np.where(weights > 0, weights, 1.0)
    return weights / weights.sum()
