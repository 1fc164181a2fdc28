"""How far a changed network agrees with FP32 on recorded frames, and which layers cost most of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kd_perception.runtime.pipeline import HEATMAP_OUTPUT
from kd_training.quantise.fake import rounded
from kd_training.quantise.frames import SEEN, RecordedFrame
from kd_training.quantise.qdq import Quantised
from kd_training.quantise.ranges import tensors_of
from kd_training.quantise.torch_graph import GraphNetwork


@dataclass(frozen=True)
class Sensitivity:
    """What it costs that one layer alone is int8: the drop of agreement with FP32, 0 to 1."""

    layer: str
    drop: float


def agreement(network: GraphNetwork, frames: Sequence[RecordedFrame], quantised: Quantised | None) -> float:
    """1 where heatmaps are FP32's, 0 where they share nothing (Bray-Curtis), over cells where either sees something.

    0 too if the network answers values that are no numbers: training may have lost itself.
    """
    shared = total = 0.0
    with torch.inference_mode():
        for frame in frames:
            inputs = tensors_of(frame.inputs)
            if quantised is None:
                got = network(inputs)
            else:
                with rounded(network, quantised):
                    got = network(inputs)
            left, right = got[HEATMAP_OUTPUT].numpy(), frame.outputs[HEATMAP_OUTPUT].astype(np.float32)
            if not np.isfinite(left).all():
                return 0.0
            cells = np.maximum(left, right) >= SEEN
            shared += float(np.minimum(left, right)[cells].sum())
            total += float((left + right)[cells].sum())
    return 2.0 * shared / total if total else 1.0


def sensitivities(
    network: GraphNetwork,
    frames: Sequence[RecordedFrame],
    of_layer: Callable[[str], Quantised],
    layers: Sequence[str],
    progress: Callable[[int], None],
) -> list[Sensitivity]:
    """Each layer's drop of agreement when it alone is int8 (`of_layer`), the worst first; progress(how many done)."""
    found = []
    for index, layer in enumerate(layers):
        found.append(Sensitivity(layer, 1.0 - agreement(network, frames, of_layer(layer))))
        progress(index + 1)
    return sorted(found, key=lambda entry: -entry.drop)
