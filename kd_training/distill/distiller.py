"""All distillation terms of one student and one teacher, and the adapters that they need."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import ALONE, TrainingProcesses
from kd_training.config.distill import DistillConfig, LayerPair
from kd_training.data.ground_truth import GroundTruth
from kd_training.distill.adapters import build_adapter
from kd_training.distill.fit import Side, check_fit, reads_layers
from kd_training.distill.terms.channel_groups import ChannelGroupTerm
from kd_training.distill.terms.cross_head import CrossHeadTerm
from kd_training.distill.terms.features import AttentionTerm, FeatureTerm
from kd_training.distill.terms.object_weights import ObjectWeightTerm
from kd_training.distill.terms.pearson import PearsonTerm
from kd_training.distill.terms.ray_contrast import RayContrastTerm
from kd_training.distill.terms.relation import RelationTerm
from kd_training.distill.terms.response import BoxTerm, HeatmapTerm
from kd_training.distill.terms.term import AdaptedLayer, ComparedBatch, Term, TermValue
from kd_training.distill.terms.thirds import ThirdOf, ThirdTerm
from kd_training.distill.terms.volume_attention import VolumeAttentionTerm


class Distilled(NamedTuple):
    """Scalar float32 terms by name, with their weights in them, and figures to log by name.

    The names are the same at every step.
    """

    terms: dict[str, Tensor]
    log: dict[str, Tensor]


class LabelFeatures(Protocol):
    """Where label features come from."""

    def features(self, truth: GroundTruth) -> Mapping[str, Tensor]:
        """Features of the true boxes of B rigs (B, C, rows, columns), without gradient, by the teacher's names."""
        ...


class Distiller(nn.Module):
    """Compares the outputs of a student with those of its teacher. Raises ConfigError where the two do not fit.

    The teacher's outputs must come without gradient (torch.no_grad, not inference_mode). The only parameters are the
    adapters' and those of terms that learn; without terms that need them the module has none.
    """

    def __init__(
        self, config: DistillConfig, student: Side, teacher: Side, labels: LabelFeatures | None = None
    ) -> None:
        """`labels` is there if distill.labels.weight is above 0."""
        super().__init__()
        check_fit(config, student, teacher)
        self.config, self.labels = config, labels
        self.layers: tuple[LayerPair, ...] = tuple(config.layers) if reads_layers(config) else ()
        self.terms = build_terms(config, student, teacher)
        self.learning = nn.ModuleList(term for term in self.terms if isinstance(term, nn.Module))
        self.adapters = nn.ModuleList(
            build_adapter(pair, student.channels[pair.student], teacher.channels[pair.teacher]) for pair in self.layers
        )

    @property
    def term_names(self) -> tuple[str, ...]:
        """The names that `forward` returns, in order."""
        return tuple(term.name for term in self.terms)

    @property
    def teacher_layers(self) -> frozenset[str]:
        """The teacher's features that the terms look at."""
        config = self.config
        pairs = [*self.layers, *(config.labels.layers if config.labels.lidar > 0 else [])]
        pairs += [section.layer for section in (config.relation, config.ray_contrast) if section.weight > 0]
        return frozenset(pair.teacher for pair in pairs)

    def forward(
        self,
        student: DetectorOutputs,
        teacher: DetectorOutputs,
        truth: GroundTruth,
        processes: TrainingProcesses = ALONE,
        *,
        cameras: Sequence[Sequence[Camera]] = (),
    ) -> Distilled:
        """The terms of a batch of B rigs, scalars in float32 whatever the precision around; adapters follow autocast.

        Shapes of the outputs: see DetectorOutputs. Layers of a pair may differ in channels and resolution. `cameras`
        are those of each rig that show something, augmented as the rig is: rays come from them.
        """
        layers = {
            pair.student: _adapted(adapter, student.features[pair.student], teacher.features[pair.teacher])
            for pair, adapter in zip(self.layers, self.adapters, strict=True)
        }
        labels = {} if self.labels is None else self.labels.features(truth)
        batch = ComparedBatch(student, teacher, truth, processes, layers, labels, cameras)
        values = {term.name: _value(term, batch) for term in self.terms}
        log = {name: figure for value in values.values() for name, figure in value.log.items()}
        return Distilled({name: value.loss for name, value in values.items()}, log)


def _adapted(adapter: nn.Module, student: Tensor, teacher: Tensor) -> AdaptedLayer:
    return AdaptedLayer(adapter(student, tuple(teacher.shape[2:])).float(), teacher.float())


def _value(term: Term, batch: ComparedBatch) -> TermValue:
    """A term without parameters in float32 throughout; one that learns under the autocast around it."""
    if isinstance(term, nn.Module):
        return term(batch)
    with torch.autocast(batch.student.heatmap.device.type, enabled=False):
        return term(batch)


def build_terms(config: DistillConfig, student: Side, teacher: Side) -> tuple[Term, ...]:
    """The terms that have a weight: those of distill.layers layer by layer, then the others."""
    return (
        *_layered_terms(config, student.grid),
        *_more_layered_terms(config, student.grid, teacher.heights),
        *_thirds(config, student, teacher),
        *_others(config, student, teacher),
    )


def _layered_terms(config: DistillConfig, grid: BevGrid) -> Iterator[Term]:
    """Features, attention and standardised features."""
    for pair in config.layers:
        if config.feature.weight > 0:
            yield FeatureTerm(pair, config.feature, grid)
        if config.attention.weight > 0:
            yield AttentionTerm(pair, config.attention)
        if config.pearson.weight > 0:
            yield PearsonTerm(pair, config.pearson)


def _more_layered_terms(config: DistillConfig, grid: BevGrid, heights: Mapping[str, int]) -> Iterator[Term]:
    """Groups of channels, attention in three dimensions, and boxes by size and distance."""
    for pair in config.layers:
        if config.channel_groups.weight > 0:
            yield ChannelGroupTerm(pair, config.channel_groups)
        if config.volume_attention.weight > 0:
            yield VolumeAttentionTerm(pair, config.volume_attention, heights.get(pair.teacher, 1))
        if config.object_weights.weight > 0:
            yield ObjectWeightTerm(pair, config.object_weights, grid)


def _thirds(config: DistillConfig, student: Side, teacher: Side) -> Iterator[Term]:
    """Features of labels and LiDAR in thirds of the student's channels."""
    pairs = config.labels.layers if config.labels.weight > 0 or config.labels.lidar > 0 else []
    for pair in pairs:
        sizes = {"incoming": student.channels[pair.student], "outgoing": teacher.channels[pair.teacher]}
        if config.labels.weight > 0:
            yield ThirdTerm(ThirdOf.labels, pair, config.labels.weight, **sizes)
        if config.labels.lidar > 0:
            yield ThirdTerm(ThirdOf.lidar, pair, config.labels.lidar, **sizes)


def _others(config: DistillConfig, student: Side, teacher: Side) -> Iterator[Term]:
    """Answers, relations, and what passes through the teacher's head."""
    if config.cross_head.weight > 0:
        yield CrossHeadTerm(config.cross_head, student, teacher)
    if config.response.heatmap > 0:
        yield HeatmapTerm(config.response)
    if config.response.boxes > 0:
        yield BoxTerm(config.response)
    if config.relation.weight > 0:
        yield RelationTerm(config.relation, student.grid)
    if config.ray_contrast.weight > 0:
        layer = config.ray_contrast.layer
        sizes = {"student": student.channels[layer.student], "teacher": teacher.channels[layer.teacher]}
        yield RayContrastTerm(config.ray_contrast, student.grid, **sizes)
