"""The student's loss terms: Gaussian focal loss and box codes (CenterPoint), cross-entropy on range bins (BEVDepth's
supervision), and as an option the overlap of boxes."""

import torch
from torch import Tensor
from torch.nn import functional

from kd_perception.geometry.classes import ClassList
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import ALONE, TrainingProcesses
from kd_training.config.sections import DetectionLossConfig, LossConfig
from kd_training.data.batches import Batch
from kd_training.data.ground_truth import GroundTruth
from kd_training.data.targets import NO_DEPTH
from kd_training.losses.box_codes import code_errors, smoothed
from kd_training.losses.overlap import overlap_loss

FOCAL_POWER = 2.0
NEGATIVE_POWER = 4.0


def student_losses(
    outputs: DetectorOutputs, batch: Batch, config: LossConfig, processes: TrainingProcesses = ALONE
) -> dict[str, Tensor]:
    """The detection terms, and depth if it has a weight; their sum is the loss."""
    terms = detection_losses(outputs, batch.ground_truth, config, processes)
    if config.depth > 0:
        terms["depth"] = config.depth * depth_loss(outputs.depth_logits, batch.depth, processes)
    return terms


def detection_losses(
    outputs: DetectorOutputs, truth: GroundTruth, config: DetectionLossConfig, processes: TrainingProcesses = ALONE
) -> dict[str, Tensor]:
    """Weighted scalar terms heatmap and box, and overlap if it has a weight.

    They are normalised by the number of objects of each head group, in the batches of all processes, and added over the
    groups, so that a rare group counts as much as a common one. What nobody labelled counts as truth.trust says.
    """
    count = object_counts(truth, processes)
    cells = None if truth.trust is None else truth.trust.cells
    heatmap = heatmap_loss(outputs.heatmap, truth.heatmap, of_classes(count, truth.classes), cells)
    box = box_loss(outputs.regression, truth, config.velocity, count, smooth=config.smooth)
    terms = {"heatmap": config.heatmap * heatmap, "box": config.box * box}
    if config.overlap > 0:
        terms["overlap"] = config.overlap * overlap_loss(outputs.regression, truth, count)
    return terms


def object_counts(truth: GroundTruth, processes: TrainingProcesses = ALONE) -> Tensor:
    """What the sums over each head group's objects are divided by (groups,): see TrainingProcesses.shared_count."""
    return processes.shared_count(torch.bincount(truth.objects.group, minlength=len(truth.classes.groups)))


def of_classes(count: Tensor, classes: ClassList) -> Tensor:
    """Every class's entry (classes,) of a value per head group (groups,)."""
    return count[torch.from_numpy(classes.group_of_label).to(count.device)]


def heatmap_loss(logits: Tensor, target: Tensor, count: Tensor, cells: Tensor | None = None) -> Tensor:
    """Gaussian focal loss (CornerNet, arXiv:1808.01244): logits, target (B, classes, rows, columns); count
    (classes,) of the objects of each class's group; `cells`, as the logits: what each counts, None: 1."""
    logits = logits.float()
    log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    positive = (target == 1.0).float()
    loss = -positive * log_q.exp() ** FOCAL_POWER * log_p
    loss = loss - (1.0 - positive) * (1.0 - target) ** NEGATIVE_POWER * log_p.exp() ** FOCAL_POWER * log_q
    loss = loss if cells is None else loss * cells
    return (loss.sum(dim=(0, 2, 3)) / count).sum()


def box_loss(
    regression: Tensor, truth: GroundTruth, velocity_weight: float, count: Tensor, *, smooth: float = 0.0
) -> Tensor:
    """Errors of the codes at object centres; unknown (NaN) ones do not count; count (groups,) of objects.

    Errors below `smooth` count by their square, see `smoothed`.
    """
    errors = code_errors(truth.objects.of(regression), truth.codes, truth.coding)
    errors = smoothed(errors, smooth, truth.coding) if smooth > 0 else errors
    weight = torch.ones(errors.shape[1], device=errors.device)
    weight[truth.coding.velocities] = velocity_weight
    loss = (errors * weight).sum(dim=1) / count[truth.objects.group]
    return (loss if truth.trust is None else loss * truth.trust.objects).sum()


def depth_loss(logits: Tensor, labels: Tensor, processes: TrainingProcesses = ALONE) -> Tensor:
    """Mean cross-entropy over feature pixels with a LiDAR return: logits (N, D, h, w), labels (N, h, w); 0 where there
    is none."""
    flat = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    labelled = labels.reshape(-1) != NO_DEPTH
    total = functional.cross_entropy(flat[labelled].float(), labels.reshape(-1)[labelled], reduction="sum")
    return total / processes.shared_count(labelled.sum())
