"""Quantisation-aware training: the rounded network learns to answer as the FP32 file does, on recorded frames.

The FP32 heatmap and boxes are the targets, so no label is needed, and a few hundred frames suffice. Ranges stay as
they were calibrated: only weights move.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_perception.runtime.pipeline import HEATMAP_OUTPUT, REGRESSION_OUTPUT
from kd_perception.student.spec import MEMORY_OUTPUT, StudentSpec
from kd_training.quantise.fake import rounded
from kd_training.quantise.frames import RecordedFrame
from kd_training.quantise.qdq import Quantised
from kd_training.quantise.ranges import tensors_of
from kd_training.quantise.torch_graph import GraphNetwork

VELOCITY_WEIGHT = 0.2  # of its codes, which are metres per second
LEAST_PROBABILITY = 1e-6
WARMUP_STEPS = 20
CLIP_NORM = 5.0


@dataclass(frozen=True)
class TrainingPlan:
    """How long the rounded network learns, one frame a step, and how fast (Adam, falling as a cosine).

    The rate is relative to the size of each tensor: folded batch norms leave tensors of very different sizes, and int8
    tells 1/127 of a channel's greatest weight apart.
    """

    steps: int
    learning_rate: float = 1e-4
    seed: int = 0


def train(
    network: GraphNetwork,
    frames: Sequence[RecordedFrame],
    quantised: Quantised,
    plan: TrainingPlan,
    *,
    spec: StudentSpec,
    progress: Callable[[int, float], None],
) -> None:
    """Change the network's weights in place; progress(steps done, mean loss of late)."""
    learnt = [value for value in network.parameters() if value.is_floating_point()]
    sizes = [value.detach().square().mean().sqrt().item() for value in learnt]
    groups = [{"params": [v], "lr": plan.learning_rate * size} for v, size in zip(learnt, sizes, strict=True)]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, plan.steps))
    order = torch.Generator().manual_seed(plan.seed)
    waiting: list[int] = []
    late = 0.0
    for step in range(plan.steps):
        waiting = waiting or torch.randperm(len(frames), generator=order).tolist()
        frame = frames[waiting.pop()]
        with rounded(network, quantised):
            outputs = network(tensors_of(frame.inputs))
        loss = imitation(outputs, tensors_of(frame.outputs), spec)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        late = loss.item() if step == 0 else 0.95 * late + 0.05 * loss.item()
        progress(step + 1, late)


def _rate(step: int, steps: int) -> float:
    falling = 0.5 * (1.0 + torch.cos(torch.tensor(torch.pi * step / steps)).item())
    return min(1.0, (step + 1) / WARMUP_STEPS) * falling


def imitation(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], spec: StudentSpec) -> Tensor:
    """The divergence of the heatmap from the target's, errors of box codes where it sees objects, of the memory.

    Each is relative to how much there is in the target, so that crowded frames count as empty ones.
    """
    p, t = (part[HEATMAP_OUTPUT].clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY) for part in (outputs, targets))
    divergence = t * (t / p).log() + (1.0 - t) * ((1.0 - t) / (1.0 - p)).log()
    loss = divergence.sum() / t.sum()
    groups = torch.from_numpy(spec.classes.group_of_label)
    weight = torch.stack([t[groups == group].amax(dim=0) for group in range(len(spec.classes.groups))]).unsqueeze(1)
    error = (outputs[REGRESSION_OUTPUT] - targets[REGRESSION_OUTPUT]).abs()
    of_code = torch.ones(error.shape[1])
    of_code[spec.coding.velocities] = VELOCITY_WEIGHT
    loss = loss + (error * weight * of_code.reshape(1, -1, 1, 1)).sum() / weight.sum()
    if MEMORY_OUTPUT in outputs:
        target = targets[MEMORY_OUTPUT]
        loss = loss + (outputs[MEMORY_OUTPUT] - target).square().sum() / target.square().sum().clamp_min(1e-6)
    return loss
