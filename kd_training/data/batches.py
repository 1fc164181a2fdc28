"""Batches as a function of the step: the same seed and step give the same batch, so that a resumed run continues bit by
bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kd_perception.datasets.nuscenes import Frame
from kd_perception.geometry.transforms import invert
from kd_perception.runtime.bev_memory import warp_table
from kd_perception.student.spec import StudentSpec
from kd_training.batches.point_batch import PointBatch
from kd_training.batches.student_inputs import PreviousFrames, StudentInputs
from kd_training.config.sections import AugmentConfig
from kd_training.data.augment import Augmentation, draw_augmentation, no_augmentation
from kd_training.data.frames import TrainingFrame
from kd_training.data.ground_truth import GroundTruth, join_ground_truth
from kd_training.data.points import PointSource, collate_points
from kd_training.data.rig_images import RigImages, join_rigs, rig_images
from kd_training.data.sampling import FrameSampler
from kd_training.data.targets import NO_DEPTH, DetectionTargets, depth_labels, detection_targets


@dataclass(frozen=True)
class PreviousSample:
    """A sample's earlier frame, `interval_s` seconds old; warp (rows, columns, 2): where its cells lie in it."""

    rig: RigImages
    warp: np.ndarray
    interval_s: float


@dataclass(frozen=True)
class TrainingSample:
    """One rig with depth labels (N, h, w) and targets; its earlier frame, if it has one; its cloud, where a teacher is
    to see it. `key` and `world`: which keyframe (TrainingFrame.key), and target_from_ego (4, 4) of its augmentation."""

    rig: RigImages
    depth: np.ndarray
    targets: DetectionTargets
    key: str
    world: np.ndarray
    previous: PreviousSample | None = None
    cloud: np.ndarray | None = None


@dataclass(frozen=True)
class Batch:
    """What a student takes, depth labels (N, h, w) of its cameras, and the truth of its rigs; what a teacher takes.

    On the host, `keys` and `worlds` say which keyframes the rigs show, and under which target_from_ego (4, 4).
    """

    inputs: StudentInputs
    depth: Tensor
    truth: GroundTruth
    keys: tuple[str, ...]
    worlds: tuple[np.ndarray, ...]
    points: PointBatch | None = None


def make_sample(
    spec: StudentSpec,
    frame: TrainingFrame,
    augmentation: Augmentation,
    with_depth: bool,
    previous: Frame | None = None,
    points: PointSource | None = None,
) -> TrainingSample:
    """Read a frame's files and build its arrays; raises DataError naming a file that is missing or damaged.

    `previous` is an earlier moment of the same scene, `points` where clouds come from; one augmentation for all.
    """
    rig = rig_images(spec, frame.frame, augmentation)
    rows, columns = spec.feature_size
    depth = np.full((len(rig.images), rows, columns), NO_DEPTH, np.int64)
    if with_depth:
        for index, (returns, affine) in enumerate(zip(frame.returns, rig.network_from_image, strict=True)):
            if rig.camera_valid[index]:
                depth[index] = depth_labels(spec, frame.cameras[index], returns, affine)
    return TrainingSample(
        rig=rig,
        depth=depth,
        targets=detection_targets(frame.boxes.transformed(augmentation.target_from_ego), spec.grid),
        key=frame.key,
        world=augmentation.target_from_ego,
        previous=None if previous is None else _previous(spec, frame.frame, rig, previous, augmentation),
        cloud=None if points is None else points.augmented(frame, augmentation.target_from_ego),
    )


def _previous(
    spec: StudentSpec, frame: Frame, rig: RigImages, previous: Frame, augmentation: Augmentation
) -> PreviousSample | None:
    """The earlier moment as the sample sees it; None where it lacks cameras of the sample's."""
    if [image.camera.name for image in previous.images] != [image.camera.name for image in frame.images]:
        return None
    motion = invert(previous.global_from_ego) @ frame.global_from_ego
    turn = augmentation.target_from_ego
    return PreviousSample(
        rig=rig_images(spec, previous, augmentation, known=(frame, rig)),
        warp=warp_table(spec.grid, turn @ motion @ turn.T),  # orthogonal, maybe a mirror: its transpose undoes it
        interval_s=(frame.timestamp_us - previous.timestamp_us) / 1e6,
    )


def collate(samples: list[TrainingSample], spec: StudentSpec) -> Batch:
    """Join samples: images behind each other, indices moved by what stands before."""
    cameras, terms = join_rigs(spec, [sample.rig for sample in samples])
    previous = None if spec.memory is None else _join_previous(spec, [sample.previous for sample in samples])
    return Batch(
        inputs=StudentInputs(len(samples), cameras, terms, previous),
        depth=torch.from_numpy(np.concatenate([sample.depth for sample in samples])),
        truth=join_ground_truth([sample.targets for sample in samples]),
        keys=tuple(sample.key for sample in samples),
        worlds=tuple(sample.world for sample in samples),
        points=None if samples[0].cloud is None else collate_points([sample.cloud for sample in samples]),
    )


def _join_previous(spec: StudentSpec, previous: Sequence[PreviousSample | None]) -> PreviousFrames:
    cameras, terms = join_rigs(spec, [None if entry is None else entry.rig for entry in previous])
    nowhere = np.zeros((*spec.grid.shape, 2), np.float32)
    intervals = [spec.memory.interval_s if entry is None else entry.interval_s for entry in previous]
    return PreviousFrames(
        cameras=cameras,
        terms=terms,
        warp=torch.from_numpy(np.stack([nowhere if entry is None else entry.warp for entry in previous])),
        valid=torch.tensor([float(entry is not None) for entry in previous]),
        interval=torch.tensor(intervals, dtype=torch.float32),
    )


class StepBatches(torch.utils.data.Dataset):
    """Maps a step to this process's batch; use with a DataLoader of batch_size None and the steps as sampler.

    `balance` as in FrameSampler; `points`: the batches hold clouds, too, for a teacher.
    """

    def __init__(
        self, spec: StudentSpec, frames: tuple[TrainingFrame, ...], augment: AugmentConfig, batch: int, seed: int,
        balance: bool, with_depth: bool, rank: int = 0, world_size: int = 1, points: PointSource | None = None,
    ) -> None:  # fmt: skip
        self.spec, self.augment, self.points = spec, augment, points
        self.batch, self.seed, self.with_depth = batch, seed, with_depth
        self.rank, self.world_size = rank, world_size
        self.sampler = FrameSampler(frames, seed, balance)

    def __getitem__(self, step: int) -> Batch:
        samples = []
        for slot in range(self.batch):
            position = (step * self.world_size + self.rank) * self.batch + slot
            rng = np.random.default_rng([self.seed, position])
            frame = self.sampler.at(position, rng)
            augmentation = draw_augmentation(rng, self.augment, len(frame.frame.images), self.spec.image_size)
            previous = self._previous_of(frame, rng)
            samples.append(make_sample(self.spec, frame, augmentation, self.with_depth, previous, self.points))
        return collate(samples, self.spec)

    def _previous_of(self, frame: TrainingFrame, rng: np.random.Generator) -> Frame | None:
        """An earlier moment at a random interval; None for students without memory and for samples that start anew."""
        memory = self.spec.memory
        if memory is None or rng.random() < self.augment.memory_drop:
            return None
        return frame.earlier(rng, memory.shortest_s, memory.longest_s)


def evaluation_batch(spec: StudentSpec, frame: TrainingFrame) -> Batch:
    """One frame as it is, without depth labels."""
    return collate([make_sample(spec, frame, no_augmentation(len(frame.frame.images)), with_depth=False)], spec)
