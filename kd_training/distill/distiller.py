"""All distillation terms of one student and one teacher, and the adapters that they need."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd_perception.geometry.grid import BevGrid
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import ALONE, TrainingProcesses
from kd_training.config.distill import DistillConfig, LayerPair
from kd_training.data.ground_truth import GroundTruth
from kd_training.distill.adapters import build_adapter
from kd_training.distill.fit import Side, check_fit
from kd_training.distill.terms.features import AttentionTerm, FeatureTerm
from kd_training.distill.terms.relation import RelationTerm
from kd_training.distill.terms.response import BoxTerm, HeatmapTerm
from kd_training.distill.terms.term import AdaptedLayer, ComparedBatch, Term


class Distilled(NamedTuple):
    """Scalar float32 terms by name, with their weights in them, and figures to log by name.

    The names are the same at every step.
    """

    terms: dict[str, Tensor]
    log: dict[str, Tensor]


class Distiller(nn.Module):
    """Compares the outputs of a student with those of its teacher. Raises ConfigError where the two do not fit.

    The teacher's outputs must come without gradient (torch.no_grad, not inference_mode). The only parameters are the
    adapters'; without feature and attention terms the module has none.
    """

    def __init__(self, config: DistillConfig, student: Side, teacher: Side) -> None:
        super().__init__()
        check_fit(config, student, teacher)
        self.config = config
        layered = config.feature.weight > 0 or config.attention.weight > 0
        self.layers: tuple[LayerPair, ...] = tuple(config.layers) if layered else ()
        self.terms = build_terms(config, student.grid)
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
        relation = self.config.relation
        return frozenset(pair.teacher for pair in (*self.layers, *([relation.layer] if relation.weight > 0 else [])))

    def forward(
        self,
        student: DetectorOutputs,
        teacher: DetectorOutputs,
        truth: GroundTruth,
        processes: TrainingProcesses = ALONE,
    ) -> Distilled:
        """The terms of a batch of B rigs, scalars in float32 whatever the precision around; adapters follow autocast.

        Shapes of the outputs: see DetectorOutputs. Layers of a pair may differ in channels and resolution.
        """
        adapted = {
            pair.student: adapter(student.features[pair.student], tuple(teacher.features[pair.teacher].shape[2:]))
            for pair, adapter in zip(self.layers, self.adapters, strict=True)
        }
        with torch.autocast(student.heatmap.device.type, enabled=False):
            layers = {
                pair.student: AdaptedLayer(adapted[pair.student].float(), teacher.features[pair.teacher].float())
                for pair in self.layers
            }
            batch = ComparedBatch(student, teacher, truth, processes, layers)
            values = {term.name: term(batch) for term in self.terms}
        log = {name: figure for value in values.values() for name, figure in value.log.items()}
        return Distilled({name: value.loss for name, value in values.items()}, log)


def build_terms(config: DistillConfig, grid: BevGrid) -> tuple[Term, ...]:
    """The terms that have a weight: layer by layer features and attention, then the others."""
    terms: list[Term] = []
    for pair in config.layers:
        if config.feature.weight > 0:
            terms.append(FeatureTerm(pair, config.feature, grid))
        if config.attention.weight > 0:
            terms.append(AttentionTerm(pair, config.attention))
    if config.response.heatmap > 0:
        terms.append(HeatmapTerm(config.response))
    if config.response.boxes > 0:
        terms.append(BoxTerm(config.response))
    if config.relation.weight > 0:
        terms.append(RelationTerm(config.relation, grid))
    return tuple(terms)
