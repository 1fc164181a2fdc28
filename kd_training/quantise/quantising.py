"""From a FP32 student file to one in int8: record, calibrate, find sensitive layers, train, write."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import onnx

from kd_perception.atomic import atomic_path
from kd_perception.commit import code_commit
from kd_perception.errors import StudentError
from kd_perception.student.spec import METADATA_KEY, Student
from kd_training.checkpoints.onnx_files import add_metadata
from kd_training.quantise.agreement import Sensitivity, agreement, sensitivities
from kd_training.quantise.equalise import equalise
from kd_training.quantise.frames import CalibrationSource, RecordedFrame, sees_something
from kd_training.quantise.graph import OnnxGraph
from kd_training.quantise.macs import convolution_macs
from kd_training.quantise.prepare import prepare
from kd_training.quantise.qdq import Quantised, gathered_features, insert, rounded_tensors, source_of
from kd_training.quantise.ranges import PERCENTILE, Method, Ranges
from kd_training.quantise.torch_graph import GraphNetwork
from kd_training.quantise.train import TrainingPlan, train

LEAST_SHARE = 0.9  # of the convolution MACs that must be int8
JUDGED, ALONE = 6, 2  # frames on which agreement is judged: of the whole, and of each layer alone
CALIBRATED = 24  # frames of which ranges are taken
FAITHFUL = 0.98  # agreement with the file, in FP32, below which this code computes something else than its engine
TOO_MUCH = 0.01  # drop of agreement by one layer alone from which it is proposed to stay FP32

Show = Callable[[str], Callable[[int, int], None]]  # adds a progress bar: what is called with (done, total)


@dataclass(frozen=True)
class QuantisingPlan:
    """What is done besides calibration: keep: convolutions that stay FP32 by name, and `sensitive` those proposed."""

    method: Method
    training: TrainingPlan
    keep: tuple[str, ...] = ()
    sensitive: bool = True


@dataclass(frozen=True)
class Quantising:
    """What became of a student: agreement with FP32 after each step, sensitivities, what stays FP32, MACs in int8.

    Agreement is judged on frames that were not trained on. Training that does not raise it is not kept.
    """

    agreements: dict[str, float]
    layers: tuple[Sensitivity, ...]
    kept: tuple[str, ...]
    share: float
    macs: dict[str, int]

    @property
    def trained(self) -> bool:
        """Whether the training is in the file."""
        return self.agreements.get("trained", 0.0) > self.agreements["calibrated"]


def quantise(student: Student, out: Path, source: CalibrationSource, plan: QuantisingPlan, show: Show) -> Quantising:
    """Write `student` in int8 to `out`; raises StudentError if it is not FP32 or too little of it becomes int8, and
    DataError if the frames are of no use."""
    if student.spec.precision != "fp32":
        raise StudentError(f"{student.path} is in {student.spec.precision} already; quantise the FP32 file")
    frames = source.record(student, show(f"{student.spec.name}, recording"))
    graph = OnnxGraph.of(onnx.load(str(student.path)))
    prepare(graph)
    chosen = some_of(frames, CALIBRATED)
    network, ranges = calibrated(graph, chosen, show)
    scales, macs = ranges.scales(plan.method), convolution_macs(graph, ranges.shapes)
    judged = some_of([frame for frame in frames if sees_something(frame)], JUDGED)
    agreements = {"fp32": faithful(student, agreement(network, judged, None))}

    def of_layers(layers: Collection[str]) -> Quantised:
        return rounded_layers(graph, layers, scales)

    found: list[Sensitivity] = []
    if plan.sensitive:
        bar, layers = show("sensitivity of layers"), list(macs)
        found = sensitivities(
            network, judged[:ALONE], lambda layer: of_layers([layer]), layers, lambda done: bar(done, len(layers))
        )
    kept = layers_kept(macs, found, plan.keep)
    quantised = with_gathers(graph, of_layers([layer for layer in macs if layer not in kept]), scales)
    agreements["calibrated"] = agreement(network, judged, quantised)
    if plan.training.steps:
        bar, steps = show("training"), plan.training.steps
        learnt = [frame for frame in frames if not any(frame is other for other in judged)]
        train(network, learnt, quantised, plan.training, spec=student.spec, progress=lambda done, _: bar(done, steps))
        agreements["trained"] = agreement(network, judged, quantised)
        if agreements["trained"] > agreements["calibrated"]:
            network.into(graph)
    insert(graph, quantised)
    share = sum(macs[layer] for layer in quantised.layers) / sum(macs.values())
    result = Quantising(agreements, tuple(found), kept, share, macs)
    facts = origin(f"{counted(chosen, frames)} of {source.name}", plan, trained=result.trained)
    write(student, graph, out, {**facts, "int8": f"{100 * share:.1f} % of the convolution MACs"})
    return result


def faithful(student: Student, agreed: float) -> float:
    """The agreement of the prepared graph in FP32 with the file on its engine; raises StudentError if they differ."""
    if agreed < FAITHFUL:
        raise StudentError(
            f"{student.path}: its graph in PyTorch agrees with the file to {100 * agreed:.1f} % only, before anything "
            "is rounded: it holds an operator that quantising reads otherwise; quantise a file of kd export"
        )
    return agreed


def rounded_layers(graph: OnnxGraph, layers: Collection[str], scales: Mapping[str, float]) -> Quantised:
    """These layers in int8, with what they read."""
    return Quantised(frozenset(layers), {name: scales[name] for name in rounded_tensors(graph, layers)})


def with_gathers(graph: OnnxGraph, quantised: Quantised, scales: Mapping[str, float]) -> Quantised:
    """The same, with the features in int8 that the view transform gathers."""
    gathered = {name: scales[name] for name in gathered_features(graph)}
    return replace(quantised, scales={**quantised.scales, **gathered})


def some_of(frames: Sequence[RecordedFrame], count: int) -> list[RecordedFrame]:
    """At most `count` of the frames, in order, at random but always the same.

    Every n-th would be the first of each sequence where sequences are n long: a frame without memory.
    """
    chosen = np.random.default_rng(0).permutation(len(frames))[:count]
    return [frames[index] for index in sorted(chosen)]


def calibrated(graph: OnnxGraph, frames: Sequence[RecordedFrame], show: Show) -> tuple[GraphNetwork, Ranges]:
    """The network with ranges equalised in the graph, and the ranges of all that may be rounded."""
    names = {source_of(graph, node.input[0]) for node in graph.convolutions}.union(gathered_features(graph))
    before = Ranges(GraphNetwork(graph), names)
    bar = show("ranges of channels")
    before.find_greatest(frames, lambda done: bar(done, len(frames)))
    equalise(graph, before.per_channel)
    network = GraphNetwork(graph)
    ranges, bar = Ranges(network, names), show("ranges of tensors")
    ranges.collect(frames, lambda done: bar(done, 2 * len(frames)))
    return network, ranges


def layers_kept(macs: dict[str, int], found: Sequence[Sensitivity], wanted: Sequence[str]) -> tuple[str, ...]:
    """The convolutions that stay FP32: those `wanted`, and the most sensitive ones as LEAST_SHARE allows.

    Raises StudentError for a name that no convolution has, or if too much is wanted.
    """
    unknown = next((name for name in wanted if name not in macs), "")
    if unknown:
        near = ", ".join(get_close_matches(unknown, macs, 3, 0.0))
        raise StudentError(f"no convolution is called '{unknown}'; the nearest names are {near}")
    total, kept = sum(macs.values()), list(dict.fromkeys(wanted))
    left = total - sum(macs[name] for name in kept)
    if left < LEAST_SHARE * total:
        raise StudentError(f"only {100 * left / total:.0f} % of the convolution MACs would be int8; keep fewer in FP32")
    for entry in found:
        if entry.drop >= TOO_MUCH and entry.layer not in kept and left - macs[entry.layer] >= LEAST_SHARE * total:
            kept.append(entry.layer)
            left -= macs[entry.layer]
    return tuple(kept)


def counted(chosen: Sequence[RecordedFrame], frames: Sequence[RecordedFrame]) -> str:
    """How many frames gave the ranges, of how many that were recorded."""
    cameras = "-".join(str(count) for count in sorted({frame.cameras for frame in chosen}))
    count = f"{len(chosen)}" if len(chosen) == len(frames) else f"{len(chosen)} of {len(frames)}"
    return f"{count} frames of {cameras} cameras"


def origin(frames: str, plan: QuantisingPlan, *, trained: bool) -> dict[str, str]:
    """What the file states of how it became int8; `frames`: which."""
    method = f"percentile {PERCENTILE:g}" if plan.method == Method.percentile else plan.method.value
    facts = {"calibration": f"{frames}, {method}"}
    if trained:
        steps = plan.training
        facts["quantisation-aware training"] = (
            f"{steps.steps} frames, learning rate {steps.learning_rate:g}, seed {steps.seed}, the FP32 file as teacher"
        )
    return facts | {"quantised by": code_commit()}


def write(student: Student, graph: OnnxGraph, out: Path, facts: dict[str, str]) -> None:
    """Write the graph with the student's metadata, its new precision, and where that comes from."""
    provenance = {**student.spec.provenance, "quantised from": student.model_id, **facts}
    spec = replace(student.spec, precision="int8", provenance=provenance, accuracy={}, latency_ms={})
    with atomic_path(out) as temporary:
        onnx.save(graph.to_model(), str(temporary))
        add_metadata(temporary, METADATA_KEY, spec.to_json())
