"""A frozen teacher's outputs for a student's batches; kept in memory where augmentation repeats itself."""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import torch
from cachetools import LRUCache, cachedmethod

from kd_perception.errors import ConfigError
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.point_batch import PointBatch
from kd_training.checkpoints.checkpoint import file_digest
from kd_training.checkpoints.models import load_teacher
from kd_training.config.sections import AugmentConfig
from kd_training.data.frames import TrainingFrame, facts_of
from kd_training.data.lidar_source import LidarSource
from kd_training.data.points import collate_points
from kd_training.data.samples import ShownFrame


class FrozenTeacher:
    """A teacher of a weights file in evaluation mode, without gradients.

    No nn.Module: a task that holds it neither trains, averages, saves nor broadcasts it.
    """

    def __init__(self, weights: Path, key: str = "distill.teacher") -> None:
        """`key`: what names the file in the configuration, for messages."""
        if not weights.is_file():
            raise ConfigError(
                f"{key} is {weights}, which does not exist; train the teacher first (kd train with a file "
                "that has teacher:), or give the weights of another"
            )
        self.model = load_teacher(weights).to(memory_format=torch.channels_last).requires_grad_(requires_grad=False)
        self.digest = file_digest(weights)

    def outputs(self, points: PointBatch, rigs: int) -> DetectorOutputs:
        """Predictions and features of `rigs` clouds, on their device, in the precision of the autocast around it."""
        self.model.to(points.points.device)
        with torch.no_grad():
            return self.model.train_forward(points, rigs)


class KeptOutputs:
    """Outputs of a teacher by keyframe and augmentation, in bfloat16 on the host, within a budget of bytes.

    A cloud is seen alone, from points that depend on nothing but keyframe and augmentation, and the outputs are rounded
    before their first use: so they are the same whether they were kept or not, and in a resumed run. Of the teacher's
    features those of `layers` are kept.
    """

    def __init__(
        self,
        teacher: FrozenTeacher,
        layers: frozenset[str],
        frames: Sequence[TrainingFrame],
        lidar: LidarSource,
        cache_bytes: int,
    ) -> None:
        self.teacher, self.layers, self.lidar = teacher, layers, lidar
        self.frames, self.place_of = frames, {facts.key: place for place, facts in enumerate(facts_of(frames))}
        self._cache: LRUCache = LRUCache(cache_bytes, getsizeof=_nbytes)

    def outputs(self, shown: Sequence[ShownFrame], device: torch.device) -> DetectorOutputs:
        """The outputs for rigs that show these keyframes, on a device."""
        rigs = [self._one(frame, device) for frame in shown]
        joined = DetectorOutputs(
            torch.cat([rig.heatmap for rig in rigs]),
            torch.cat([rig.regression for rig in rigs]),
            {name: torch.cat([rig.features[name] for rig in rigs]) for name in rigs[0].features},
        )
        return joined.map(lambda value: value.to(device).float())

    @cachedmethod(attrgetter("_cache"), key=lambda self, shown, device: _key(shown))
    def _one(self, shown: ShownFrame, device: torch.device) -> DetectorOutputs:
        cloud = self.lidar.augmented(self.frames[self.place_of[shown.key]], shown.target_from_ego)
        outputs = self.teacher.outputs(collate_points([cloud]).to(device), 1)
        kept = outputs._replace(features={name: outputs.features[name] for name in sorted(self.layers)})
        return kept.map(lambda value: value.to("cpu", torch.bfloat16))


def check_repeatable(augment: AugmentConfig) -> None:
    """Raise ConfigError if samples are turned at random: then no output would ever be wanted again."""
    if augment.bev_rotation > 0:
        raise ConfigError(
            f"distill.cache_bytes keeps the teacher's outputs, but data.augment.bev_rotation {augment.bev_rotation:g} "
            "makes every sample a new one; set data.augment.bev_rotation=0 or distill.cache_bytes=0"
        )


def _key(shown: ShownFrame) -> tuple[str, bytes]:
    return shown.key, (shown.target_from_ego + 0.0).tobytes()  # -0.0 is 0.0


def _nbytes(outputs: DetectorOutputs) -> int:
    return sum(value.nbytes for value in (outputs.heatmap, outputs.regression, *outputs.features.values()))
