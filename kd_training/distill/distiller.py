"""All distillation terms of one student and one teacher, by name, and the adapters that they need."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd_perception.geometry.grid import BevGrid
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import ALONE, TrainingProcesses
from kd_training.config.distill import DistillConfig, LayerPair
from kd_training.data.ground_truth import GroundTruth
from kd_training.distill.adapters import HEAD_LAYERS, build_adapter
from kd_training.distill.fit import Side, check_fit
from kd_training.distill.terms.attention import effective_cells, energy
from kd_training.distill.terms.features import attention_loss, attention_weights, feature_loss
from kd_training.distill.terms.regions import BoxFootprints, box_footprints, false_positives, region_weights
from kd_training.distill.terms.relation import relation_loss
from kd_training.distill.terms.response import box_response, heatmap_response
from kd_training.losses.detection import object_counts


class Distilled(NamedTuple):
    """Scalar float32 terms by name, their weights in them, the same names at every step; and what to log beside them:
    over how many cells each layer's attention is spread."""

    terms: dict[str, Tensor]
    log: dict[str, Tensor]


class Distiller(nn.Module):
    """Compares what a student and its teacher returned. Raises ConfigError where they do not fit together.

    The teacher's outputs must come without gradient (torch.no_grad, not inference_mode). Its parameters are those of
    the adapters; without feature and attention terms there are none.
    """

    def __init__(self, config: DistillConfig, student: Side, teacher: Side) -> None:
        super().__init__()
        check_fit(config, student, teacher)
        self.config = config
        self.grid: BevGrid = student.grid
        layered = config.feature.weight > 0 or config.attention.weight > 0
        self.layers: tuple[LayerPair, ...] = tuple(config.layers) if layered else ()
        self.adapters = nn.ModuleList(
            build_adapter(pair, student.channels[pair.student], teacher.channels[pair.teacher]) for pair in self.layers
        )

    @property
    def term_names(self) -> tuple[str, ...]:
        """The names that `forward` returns, in order."""
        config = self.config
        weights = [
            (f"{kind}/{pair.student}", weight)
            for pair in self.layers
            for kind, weight in (("feature", config.feature.weight), ("attention", config.attention.weight))
        ]
        response, relation = config.response, config.relation
        weights += [("response/heatmap", response.heatmap), ("response/boxes", response.boxes)]
        weights += [("relation", relation.weight)]
        return tuple(name for name, weight in weights if weight > 0)

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
        """The terms of a batch, computed in float32 whatever the precision around it; adapters follow autocast."""
        terms, log = self._layer_terms(student, teacher, truth)
        with torch.autocast(student.heatmap.device.type, enabled=False):
            terms |= self._response_terms(student, teacher, truth, processes)
            terms |= self._relation_terms(student, teacher, truth, processes)
        return Distilled({name: terms[name] for name in self.term_names}, log)

    def _layer_terms(
        self, student: DetectorOutputs, teacher: DetectorOutputs, truth: GroundTruth
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        terms: dict[str, Tensor] = {}
        log: dict[str, Tensor] = {}
        footprints: dict[tuple[int, int], BoxFootprints] = {}  # by shape: layers share them
        for pair, adapter in zip(self.layers, self.adapters, strict=True):
            target = teacher.features[pair.teacher]
            shape = tuple(target.shape[2:])
            adapted = adapter(student.features[pair.student], shape)
            with torch.autocast(adapted.device.type, enabled=False):
                adapted, target = adapted.float(), target.float()
                energies = energy(adapted), energy(target)
                terms[f"attention/{pair.student}"] = self.config.attention.weight * attention_loss(*energies)
                if self.config.feature.weight <= 0:
                    continue
                if self.config.feature.regions and shape not in footprints:
                    footprints[shape] = box_footprints(truth.boxes, self.grid, shape, target.device)
                weights = self._region_weights(pair, footprints.get(shape), teacher, truth, target)
                attention = attention_weights(*energies, self.config.feature)
                log[f"attention_cells/{pair.student}"] = effective_cells(attention)
                if self.config.feature.attention:
                    weights = weights * attention
                terms[f"feature/{pair.student}"] = self.config.feature.weight * feature_loss(adapted, target, weights)
        return terms, log

    def _region_weights(
        self,
        pair: LayerPair,
        footprints: BoxFootprints | None,
        teacher: DetectorOutputs,
        truth: GroundTruth,
        target: Tensor,
    ) -> Tensor:
        """M S of every cell of a layer; without regions all are foreground."""
        feature = self.config.feature
        if footprints is None:
            return torch.full_like(target[:, 0], feature.foreground)
        wrong = None
        if feature.false_positives and pair.student == pair.teacher and pair.student in HEAD_LAYERS:
            probability = torch.sigmoid(teacher.heatmap.float())
            wrong = false_positives(probability, truth.heatmap, footprints.inside, feature.threshold)
        return region_weights(footprints, wrong, feature)

    def _response_terms(
        self, student: DetectorOutputs, teacher: DetectorOutputs, truth: GroundTruth, processes: TrainingProcesses
    ) -> dict[str, Tensor]:
        config = self.config.response
        terms: dict[str, Tensor] = {}
        count = object_counts(truth, processes)
        if config.heatmap > 0:
            loss = heatmap_response(student.heatmap, teacher.heatmap, truth, config.within_truth, count)
            terms["response/heatmap"] = config.heatmap * loss
        if config.boxes > 0:
            loss = box_response(student.regression, teacher.regression, truth, config.velocity, count)
            terms["response/boxes"] = config.boxes * loss
        return terms

    def _relation_terms(
        self, student: DetectorOutputs, teacher: DetectorOutputs, truth: GroundTruth, processes: TrainingProcesses
    ) -> dict[str, Tensor]:
        config = self.config.relation
        if config.weight <= 0:
            return {}
        ours, theirs = student.features[config.layer.student].float(), teacher.features[config.layer.teacher].float()
        count = processes.shared_count(torch.tensor(sum(len(entry) for entry in truth.boxes), device=ours.device))
        loss = relation_loss(ours, theirs, truth.boxes, self.grid, config.points)
        return {"relation": config.weight * loss / count}
