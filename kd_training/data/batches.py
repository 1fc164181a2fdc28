"""A student's batches as a function of the step: the same seed and step give the same batch, so that a resumed run
continues bit by bit."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kd_perception.datasets.nuscenes import Frame
from kd_perception.errors import ConfigError
from kd_perception.student.spec import StudentSpec
from kd_training.batches.moving import moved
from kd_training.batches.point_batch import PointBatch
from kd_training.batches.run_plan import RunPlan
from kd_training.batches.student_inputs import PreviousFrames, StudentInputs
from kd_training.config.experiment import TrainConfig
from kd_training.data.augment import draw_augmentation
from kd_training.data.frames import TrainingFrame, facts_of
from kd_training.data.ground_truth import GroundTruth, join_ground_truth
from kd_training.data.lidar_source import LidarSource
from kd_training.data.points import collate_points
from kd_training.data.rig_images import join_rigs
from kd_training.data.samples import PreviousSample, SampleReader, SeenSample, ShownFrame, TrainingSample
from kd_training.data.sampling import FrameSampler, MixedSampler, ReplaySampler, Sampler, unlabelled_apart


class Batch:
    """Of B rigs: what a student takes, depth labels (N, h, w) of its cameras, ground truth, and what teachers take.

    `shown`, on the host, says which keyframes the rigs show; `points` is a LiDAR teacher's, `finer` a camera teacher's.
    `replayed` has the replayed rigs alone, where an old student is asked of no others; None: of all.
    A plain class: Fabric takes dataclasses apart, and refuses frozen ones.
    """

    def __init__(
        self,
        inputs: StudentInputs,
        depth: Tensor,
        ground_truth: GroundTruth,
        shown: tuple[ShownFrame, ...],
        *,
        points: PointBatch | None = None,
        finer: StudentInputs | None = None,
        replayed: StudentInputs | None = None,
    ) -> None:
        self.inputs, self.depth, self.ground_truth = inputs, depth, ground_truth
        self.shown, self.points, self.finer, self.replayed = shown, points, finer, replayed

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(
            self.inputs.to(device),
            moved(self.depth, device),
            self.ground_truth.to(device),
            self.shown,
            points=None if self.points is None else self.points.to(device),
            finer=None if self.finer is None else self.finer.to(device),
            replayed=None if self.replayed is None else self.replayed.to(device),
        )


def collate(
    samples: Sequence[TrainingSample],
    spec: StudentSpec,
    finer: StudentSpec | None = None,
    apart: frozenset[str] = frozenset(),
) -> Batch:
    """Join samples: images behind each other, indices moved by what stands before; `finer` is a camera teacher's, and
    `apart` are the keys of what goes into `replayed`."""
    replayed = [sample for sample in samples if sample.shown.key in apart]
    return Batch(
        _join_seen(spec, samples),
        torch.from_numpy(np.concatenate([sample.depth for sample in samples])),
        join_ground_truth([sample.targets for sample in samples]),
        tuple(sample.shown for sample in samples),
        points=_join_clouds([sample.cloud for sample in samples]),
        finer=None if finer is None else _join_seen(finer, [sample.finer for sample in samples]),
        replayed=_join_seen(spec, replayed) if replayed else None,
    )


def _join_clouds(clouds: Sequence[np.ndarray | None]) -> PointBatch | None:
    """Of all rigs, without points for those that have no cloud; None if none has one."""
    known = [cloud for cloud in clouds if cloud is not None]
    return collate_points([known[0][:0] if cloud is None else cloud for cloud in clouds]) if known else None


def _join_seen(spec: StudentSpec, seen: Sequence[TrainingSample | SeenSample]) -> StudentInputs:
    cameras, terms = join_rigs(spec, [sample.rig for sample in seen])
    previous = None if spec.memory is None else _join_previous(spec, [sample.previous for sample in seen])
    return StudentInputs(len(seen), cameras, terms, previous)


def _join_previous(spec: StudentSpec, previous: Sequence[PreviousSample | None]) -> PreviousFrames:
    cameras, terms = join_rigs(spec, [None if entry is None else entry.rig for entry in previous])
    before = [None if entry is None else entry.previous for entry in previous]
    nowhere = np.zeros((*spec.grid.shape, 2), np.float32)
    intervals = [spec.memory.interval_s if entry is None else entry.interval_s for entry in previous]
    return PreviousFrames(
        cameras=cameras,
        terms=terms,
        warp=torch.from_numpy(np.stack([nowhere if entry is None else entry.warp for entry in previous])),
        valid=torch.tensor([float(entry is not None) for entry in previous]),
        interval=torch.tensor(intervals, dtype=torch.float32),
        previous=_join_previous(spec, before) if any(before) else None,
    )


def replayed_keys(frames: Sequence[TrainingFrame]) -> frozenset[str]:
    """Which keyframes are of earlier domains."""
    return frozenset(facts.key for facts in facts_of(frames) if facts.drawn is not None)


def build_sampler(frames: Sequence[TrainingFrame], config: TrainConfig) -> Sampler:
    """What draws a student's frames: all alike, or a share of them unlabelled; and, of a replay buffer, a share of all.

    Raises ConfigError where frames of a kind are missing.
    """
    seed, balance, share = config.schedule.seed, config.data.balance_classes, config.data.pseudo.share
    replayed = np.array([facts.drawn is not None for facts in facts_of(frames)])
    new = np.flatnonzero(~replayed)
    if not len(new) and len(replayed):
        raise ConfigError("all keyframes are replayed and none is new; name what is to be learnt in data.roots")
    if config.data.unlabelled and share > 0:
        sampler = unlabelled_apart(frames, seed, share, balance=balance, places=new)
    else:
        sampler = FrameSampler(frames, seed, balance=balance, places=new)
    if not replayed.any():
        return sampler
    return MixedSampler(sampler, ReplaySampler(frames, np.flatnonzero(replayed)), config.continual.replay.share)


class StepBatches(torch.utils.data.Dataset):
    """Maps a micro-batch's index to this process's batch; use with a DataLoader of batch_size None and the indices as
    sampler.

    Batches have depth labels where the configuration gives them a weight, and clouds where a teacher sees each batch.
    No teacher looks at replayed keyframes, so that these have none, unless all of a batch are replayed. `finer` is the
    specification of a camera teacher, whose images they have, too.
    """

    def __init__(
        self,
        spec: StudentSpec,
        frames: Sequence[TrainingFrame],
        config: TrainConfig,
        plan: RunPlan,
        lidar: LidarSource,
        *,
        finer: StudentSpec | None = None,
    ) -> None:
        self.spec, self.config, self.plan, self.finer = spec, config, plan, finer
        with_clouds = config.distill.teacher and not config.distill.cache_bytes
        depth_from, cloud_from = lidar if config.loss.depth > 0 else None, lidar if with_clouds else None
        self.reader = SampleReader(spec, depth_from, cloud_from, config.data.pseudo.weight, finer)
        self.sampler = build_sampler(frames, config)
        self.replayed = replayed_keys(frames)
        alone = config.continual.hears_replayed_alone(spec.classes.names)
        self.apart = self.replayed if alone else frozenset()

    def __getitem__(self, index: int) -> Batch:
        positions = self.plan.positions(index, self.config.schedule.batch)
        drawn = [self._drawn(position) for position in positions]
        new = [frame.key not in self.replayed for frame, _ in drawn]
        taught = new if any(new) else [True] * len(new)
        samples = [self._read(frame, rng, taught=each) for (frame, rng), each in zip(drawn, taught, strict=True)]
        return collate(samples, self.spec, self.finer, self.apart)

    def _drawn(self, position: int) -> tuple[TrainingFrame, np.random.Generator]:
        rng = np.random.default_rng([self.config.schedule.seed, position])
        return self.sampler.at(position, rng), rng

    def _read(self, frame: TrainingFrame, rng: np.random.Generator, *, taught: bool) -> TrainingSample:
        there = [index for index, image in enumerate(frame.frame.images) if image.path is not None]
        augmentation = draw_augmentation(
            rng, self.config.data.augment, len(frame.frame.images), self.spec.image_size, there=there
        )
        return self.reader.read(frame, augmentation, self._earlier_than(frame, rng), clouded=taught)

    def _earlier_than(self, frame: TrainingFrame, rng: np.random.Generator) -> list[Frame]:
        """Earlier moments at random intervals, the latest first, as many as a sequence has at most; none for students
        without memory and for samples that restart it."""
        memory, found = self.spec.memory, []
        if memory is None or rng.random() < self.config.data.augment.memory_drop:
            return found
        for _ in range(self.config.model.temporal.frames - 1):
            moment = frame.earlier(rng, memory.shortest_s, memory.longest_s, than=found[-1] if found else None)
            if moment is None:
                break
            found.append(moment)
        return found
