"""Batches as a function of the step: the same seed and step give the same batch, so that a resumed run continues bit by
bit."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from kd_perception.boxes import CLASSES
from kd_perception.errors import DataError
from kd_perception.nuscenes import Frame
from kd_perception.preprocess import fit_camera, network_image
from kd_perception.student import StudentSpec
from kd_perception.temporal import warp_table
from kd_perception.transforms import invert
from kd_training.config import AugmentConfig
from kd_training.data.augment import Augmentation, draw_augmentation, no_augmentation
from kd_training.data.frames import TrainingFrame
from kd_training.data.targets import NO_DEPTH, DetectionTargets, depth_labels, detection_targets
from kd_training.data.truth import Truth, join_truth
from kd_training.models.memory import PreviousFrames
from kd_training.models.view import ViewTerms, view_terms


@dataclass(frozen=True)
class RigImages:
    """One rig at one moment: images (N, H, W, 3) uint8, camera_valid (N,), network_from_image N x (3, 3), and the
    view's terms."""

    images: np.ndarray
    camera_valid: np.ndarray
    network_from_image: tuple[np.ndarray, ...]
    terms: ViewTerms


@dataclass(frozen=True)
class Previous:
    """A sample's earlier frame, `interval_s` seconds old; warp (rows, columns, 2): where its cells lie in it."""

    rig: RigImages
    warp: np.ndarray
    interval_s: float


@dataclass(frozen=True)
class Sample:
    """One rig with depth labels (N, h, w) and targets, and its earlier frame, if it has one."""

    rig: RigImages
    depth: np.ndarray
    targets: DetectionTargets
    previous: Previous | None = None


@dataclass(frozen=True)
class Batch:
    """B rigs, their images behind each other; `previous` is there for temporal students only."""

    rigs: int
    images: Tensor
    camera_valid: Tensor
    depth: Tensor
    terms: dict[str, Tensor]
    truth: Truth
    previous: PreviousFrames | None = None


def make_sample(
    spec: StudentSpec,
    frame: TrainingFrame,
    augmentation: Augmentation,
    with_depth: bool,
    previous: Frame | None = None,
) -> Sample:
    """Read a frame's files and build its arrays; raises DataError naming a file that is missing or damaged.

    `previous` is an earlier moment of the same scene; the same augmentation applies to both.
    """
    rig = _rig_images(spec, frame.frame, augmentation)
    rows, columns = spec.feature_size
    depth = np.full((len(rig.images), rows, columns), NO_DEPTH, np.int64)
    if with_depth:
        for index, (returns, affine) in enumerate(zip(frame.returns, rig.network_from_image, strict=True)):
            if rig.camera_valid[index]:
                depth[index] = depth_labels(spec, frame.cameras[index], returns, affine)
    return Sample(
        rig=rig,
        depth=depth,
        targets=detection_targets(frame.boxes.transformed(augmentation.target_from_ego), spec.grid),
        previous=None if previous is None else _previous(spec, frame.frame, rig, previous, augmentation),
    )


def _rig_images(
    spec: StudentSpec, frame: Frame, augmentation: Augmentation, known: tuple[Frame, ViewTerms] | None = None
) -> RigImages:
    """A moment's images, read and augmented. `known`: a frame whose terms are taken over if its rig is the same."""
    images, affines = [], []
    for index, image in enumerate(frame.images):
        source_size = (image.camera.height, image.camera.width)
        affine = augmentation.network_from_network[index] @ fit_camera(image.camera, spec.image_size)
        affines.append(affine)
        if index in augmentation.dropped:
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
    valid[list(augmentation.dropped)] = 0.0
    if known is not None and _same_rig(known[0], frame):
        terms = known[1]
    else:
        terms = view_terms(spec, augmentation.cameras([image.camera for image in frame.images]), affines)
    return RigImages(np.stack(images), valid, tuple(affines), terms)


def _previous(
    spec: StudentSpec, frame: Frame, rig: RigImages, previous: Frame, augmentation: Augmentation
) -> Previous | None:
    """The earlier moment as the sample sees it; None where it lacks cameras of the sample's."""
    if [image.camera.name for image in previous.images] != [image.camera.name for image in frame.images]:
        return None
    motion = invert(previous.global_from_ego) @ frame.global_from_ego
    turn = augmentation.target_from_ego
    return Previous(
        rig=_rig_images(spec, previous, augmentation, known=(frame, rig.terms)),
        warp=warp_table(spec.grid, turn @ motion @ turn.T),  # orthogonal, maybe a mirror: its transpose undoes it
        interval_s=(frame.timestamp_us - previous.timestamp_us) / 1e6,
    )


def _same_rig(first: Frame, second: Frame) -> bool:
    pairs = zip(first.images, second.images, strict=True)
    return all(a.camera.fingerprint() == b.camera.fingerprint() for a, b in pairs)


def collate(samples: list[Sample], spec: StudentSpec) -> Batch:
    """Join samples: images behind each other, indices moved by what stands before."""
    images, valid, terms = _join(spec, [sample.rig for sample in samples])
    return Batch(
        rigs=len(samples),
        images=images,
        camera_valid=valid,
        depth=torch.from_numpy(np.concatenate([sample.depth for sample in samples])),
        terms=terms,
        truth=join_truth([sample.targets for sample in samples]),
        previous=None if spec.memory is None else _join_previous(spec, [sample.previous for sample in samples]),
    )


def _join(spec: StudentSpec, rigs: Sequence[RigImages | None]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Images, camera_valid and terms of several rigs; None is a rig without anything, which keeps its place."""
    cells = spec.grid.shape[0] * spec.grid.shape[1]
    pixels = spec.feature_size[0] * spec.feature_size[1]
    there = [(place, rig) for place, rig in enumerate(rigs) if rig is not None]
    if not there:
        empty = {name: torch.zeros(0, dtype=torch.int64) for name in ("cell", "pixel", "depth")}
        images = torch.zeros(0, *spec.image_size, 3, dtype=torch.uint8)
        return images, torch.zeros(0), {**empty, "weight": torch.zeros(0)}
    before = np.cumsum([0] + [len(rig.images) for _, rig in there])
    terms = {
        "cell": [rig.terms.cell + cells * place for place, rig in there],
        "pixel": [rig.terms.pixel + pixels * start for (_, rig), start in zip(there, before, strict=False)],
        "depth": [
            rig.terms.depth + pixels * spec.view.depth.count * start
            for (_, rig), start in zip(there, before, strict=False)
        ],
        "weight": [rig.terms.weight for _, rig in there],
    }
    return (
        torch.from_numpy(np.concatenate([rig.images for _, rig in there])),
        torch.from_numpy(np.concatenate([rig.camera_valid for _, rig in there])),
        {name: torch.from_numpy(np.concatenate(parts)) for name, parts in terms.items()},
    )


def _join_previous(spec: StudentSpec, previous: Sequence[Previous | None]) -> PreviousFrames:
    images, camera_valid, terms = _join(spec, [None if entry is None else entry.rig for entry in previous])
    nowhere = np.zeros((*spec.grid.shape, 2), np.float32)
    intervals = [spec.memory.interval_s if entry is None else entry.interval_s for entry in previous]
    return PreviousFrames(
        images=images,
        camera_valid=camera_valid,
        terms=terms,
        warp=torch.from_numpy(np.stack([nowhere if entry is None else entry.warp for entry in previous])),
        valid=torch.tensor([float(entry is not None) for entry in previous]),
        interval=torch.tensor(intervals, dtype=torch.float32),
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with every tensor on `device`."""
    return Batch(**{entry.name: _moved(getattr(batch, entry.name), device) for entry in fields(Batch)})


def _moved(value: object, device: torch.device) -> object:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: tensor.to(device) for name, tensor in value.items()}
    if isinstance(value, PreviousFrames | Truth):
        return type(value)(*(_moved(part, device) for part in value))
    return value


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
            previous = self._previous_of(frame, rng)
            samples.append(make_sample(self.spec, frame, augmentation, self.with_depth, previous))
        return collate(samples, self.spec)

    def _previous_of(self, frame: TrainingFrame, rng: np.random.Generator) -> Frame | None:
        """An earlier moment at a random interval; None for students without memory and for samples that start anew."""
        memory = self.spec.memory
        if memory is None or rng.random() < self.augment.memory_drop:
            return None
        return frame.earlier(rng, memory.shortest_s, memory.longest_s)

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
