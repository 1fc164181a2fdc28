"""All terms of one camera student and its camera teacher: image pyramid, depth bins, BEV features and answers."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import ALONE, TrainingProcesses
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.distill import AttentionConfig, DistillConfig, FeatureConfig
from kd_training.data.ground_truth import GroundTruth
from kd_training.distill.distiller import Distilled, Distiller
from kd_training.distill.scale.fit import CameraSide, check_scales, matches_of, ratio_of, weights_of
from kd_training.distill.scale.image_terms import PyramidLevel, depth_divergence

PREFIX = "camera/"  # of the names of all terms: a LiDAR teacher may have terms of the same kinds


class CameraPair(NamedTuple):
    """Outputs of a student and of its camera teacher, which has no gradient, for a batch of B rigs and N cameras.

    valid (N,): 0 for cameras that do not count; rigs (R,) int64, rising: those that count, None for all.
    """

    student: DetectorOutputs
    teacher: DetectorOutputs
    valid: Tensor
    rigs: Tensor | None = None


class CrossScale(nn.Module):
    """Compares the outputs of a student with those of a camera teacher that sees the same samples in more pixels.

    Raises ConfigError where the two do not fit. Grids are equal, so terms on the BEV are those of any teacher. The
    only parameters are adapters.
    """

    def __init__(self, config: CrossScaleConfig, student: CameraSide, teacher: CameraSide) -> None:
        super().__init__()
        check_scales(config, student, teacher)
        self.config = config
        levels = matches_of(student, teacher) if config.pyramid > 0 else []
        self.levels = nn.ModuleList(PyramidLevel(match, student.neck, teacher.neck) for match in levels)
        self.depth_step = ratio_of(student, teacher) * student.spec.view.stride / teacher.spec.view.stride
        self.bev = Distiller(_bev_config(config), student.bev, teacher.bev) if _on_bev(config) else None

    @property
    def term_names(self) -> tuple[str, ...]:
        """The names that `forward` returns, in order."""
        images = [f"pyramid/{level.match.student}" for level in self.levels]
        images += ["depth"] if self.config.depth > 0 else []
        return tuple(f"{PREFIX}{name}" for name in (*images, *(() if self.bev is None else self.bev.term_names)))

    @property
    def reads_images(self) -> bool:
        """Whether a term compares features before the view transform."""
        return len(self.levels) > 0

    def forward(self, compared: CameraPair, truth: GroundTruth, processes: TrainingProcesses = ALONE) -> Distilled:
        """The terms of a batch of B rigs and N cameras, scalars in float32 whatever the precision around."""
        terms = self._image_terms(compared, processes)
        log: Mapping[str, Tensor] = {}
        if self.bev is not None:
            student, teacher, rigs = compared.student, compared.teacher, compared.rigs
            if rigs is not None:
                student, teacher, truth = (side.of_rigs(rigs) for side in (student, teacher, truth))
            distilled = self.bev(student, teacher, truth, processes)
            terms.update(distilled.terms)
            log = distilled.log
        return Distilled(*({f"{PREFIX}{name}": value for name, value in part.items()} for part in (terms, log)))

    def _image_terms(self, compared: CameraPair, processes: TrainingProcesses) -> dict[str, Tensor]:
        student, teacher, valid, _ = compared
        terms = {}
        for level in self.levels:
            loss = level(student.pyramid, teacher.pyramid, valid, processes)
            terms[f"pyramid/{level.match.student}"] = self.config.pyramid * loss
        if self.config.depth > 0:
            with torch.autocast(valid.device.type, enabled=False):
                logits = (student.depth_logits, teacher.depth_logits)
                loss = depth_divergence(*logits, valid, self.depth_step, processes)
            terms["depth"] = self.config.depth * loss
        return terms


def _on_bev(config: CrossScaleConfig) -> bool:
    weights = weights_of(config)
    return any(value > 0 for key, value in weights.items() if key not in ("pyramid", "depth"))


def _bev_config(config: CrossScaleConfig) -> DistillConfig:
    """The terms on the BEV as any teacher's."""
    return DistillConfig(
        inherit_head=False,
        layers=config.layers,
        feature=FeatureConfig(weight=0.0),
        attention=AttentionConfig(weight=0.0),
        pearson=config.pearson,
        response=config.response,
    )
