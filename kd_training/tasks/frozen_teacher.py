"""A frozen teacher's answers to a student's batches; kept in memory where augmentation lets them come again."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric

from kd_perception.errors import ConfigError
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.point_batch import PointBatch
from kd_training.checkpoints.models import load_teacher
from kd_training.config.sections import AugmentConfig
from kd_training.data.batches import Batch
from kd_training.data.byte_cache import ByteCache
from kd_training.data.frames import TrainingFrame
from kd_training.data.points import PointSource, augment_points, collate_points


class FrozenTeacher:
    """A teacher of a weights file in evaluation mode; it never gets a gradient."""

    def __init__(self, weights: Path) -> None:
        if not weights.is_file():
            raise ConfigError(
                f"distill.teacher is {weights}, which does not exist; train the teacher first (kd train with a file "
                "that has teacher:), or give the weights of another"
            )
        self.model = load_teacher(weights).to(memory_format=torch.channels_last).requires_grad_(False)
        self.digest = hashlib.sha256(weights.read_bytes()).hexdigest()

    def points(self, cache_bytes: int) -> PointSource:
        """Where the points come from that this teacher was trained with."""
        teacher = self.model.config
        return PointSource(teacher.points, self.model.grid, teacher.pillar_size, cache_bytes)

    def answer(self, points: PointBatch, rigs: int, fabric: Fabric) -> DetectorOutputs:
        """The teacher's answers to a batch of clouds that is on the device."""
        self.model.to(fabric.device)
        with torch.no_grad(), fabric.autocast():
            return self.model.train_forward(points, rigs)


class KeptAnswers:
    """Answers of a teacher by keyframe and augmentation, in bfloat16 on the host, within a budget of bytes.

    A cloud is answered alone, from points that depend on nothing but keyframe and augmentation, and its answer is
    rounded before its first use: so an answer is the same whether it was kept or not, and in a resumed run. Of the
    teacher's features those of `layers` are kept.
    """

    def __init__(
        self,
        teacher: FrozenTeacher,
        layers: frozenset[str],
        frames: tuple[TrainingFrame, ...],
        cloud_bytes: int,
        budget: int,
    ) -> None:
        self.teacher, self.layers, self.source = teacher, layers, teacher.points(cloud_bytes)
        self.frame_of = {frame.key: frame for frame in frames}
        self.kept: ByteCache[DetectorOutputs] = ByteCache(budget)

    def answer(self, batch: Batch, fabric: Fabric) -> DetectorOutputs:
        """The answers of a batch's rigs, on the device."""
        rigs = [self._one(keyframe, world, fabric) for keyframe, world in zip(batch.keys, batch.worlds, strict=True)]
        joined = DetectorOutputs(
            torch.cat([rig.heatmap for rig in rigs]),
            torch.cat([rig.regression for rig in rigs]),
            {name: torch.cat([rig.features[name] for rig in rigs]) for name in rigs[0].features},
        )
        return joined.map(lambda value: value.to(fabric.device).float())

    def _one(self, keyframe: str, world: np.ndarray, fabric: Fabric) -> DetectorOutputs:
        key = (keyframe, (world + 0.0).tobytes())  # -0.0 is 0.0
        answer = self.kept.get(key)
        if answer is None:
            cloud = augment_points(self.source.cloud(self.frame_of[keyframe]), world, self.teacher.model.grid)
            points = PointBatch(*(part.to(fabric.device) for part in collate_points([cloud])))
            answer = self.teacher.answer(points, 1, fabric)
            answer = answer._replace(features={name: answer.features[name] for name in sorted(self.layers)})
            answer = answer.map(lambda value: value.to("cpu", torch.bfloat16))
            tensors = (answer.heatmap, answer.regression, *answer.features.values())
            self.kept.put(key, answer, sum(value.nbytes for value in tensors))
        return answer


def check_repeatable(augment: AugmentConfig) -> None:
    """Raise ConfigError if the world is turned at random: then no answer would ever be wanted again."""
    if augment.bev_rotation > 0:
        raise ConfigError(
            f"distill.cache_bytes keeps the teacher's answers, but data.augment.bev_rotation {augment.bev_rotation:g} "
            "makes every sample a new one; set data.augment.bev_rotation=0 or distill.cache_bytes=0"
        )
