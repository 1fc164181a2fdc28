"""A small student in int8 and FP16: the graph in PyTorch, ranges, sensitivity, training, and the files on engines."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from support.small_file import CAMERAS, small_file
from support.students import KINDS, narrow_student, shake

from kd_bench.gpu.build_report import build_reports
from kd_perception.engines.base import open_engine
from kd_perception.errors import DataError, EngineError, StudentError
from kd_perception.student.spec import StudentSpec, load_student
from kd_training.checkpoints.export import example_inputs, write_onnx
from kd_training.config.sections import ViewConfig
from kd_training.quantise.agreement import Sensitivity, sensitivities
from kd_training.quantise.fake import rounded
from kd_training.quantise.frames import RecordedFrame, check_frames
from kd_training.quantise.graph import OnnxGraph
from kd_training.quantise.half import halve
from kd_training.quantise.prepare import prepare
from kd_training.quantise.qdq import Quantised, gathered_features, insert, rounded_tensors
from kd_training.quantise.quantising import (
    LEAST_SHARE,
    QuantisingPlan,
    counted,
    faithful,
    layers_kept,
    quantise,
    rounded_layers,
    some_of,
    with_gathers,
)
from kd_training.quantise.ranges import BINS, Method, Ranges, entropy_bin, percentile_bin, tensors_of
from kd_training.quantise.torch_graph import GraphNetwork
from kd_training.quantise.train import TrainingPlan


@dataclass(frozen=True)
class GivenFrames:
    """A source of frames that are there already."""

    frames: list[RecordedFrame]
    name: str = "frames of a test"

    def record(self, student, progress):
        progress(len(self.frames), len(self.frames))
        return self.frames


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_file(tmp_path_factory.mktemp("small") / "small.onnx")


@pytest.fixture(scope="module")
def quantised(small, tmp_path_factory):
    """The int8 file, and what became of it."""
    student, frames = small
    out = tmp_path_factory.mktemp("int8") / "small.onnx"
    plan = QuantisingPlan(Method.percentile, TrainingPlan(4, 1e-4), ("/fusion/output/Conv",), sensitive=False)
    found = quantise(student, out, GivenFrames(frames), plan, silent)
    return load_student(out), found


def silent(text):
    return lambda done, total: None


def prepared(path: Path) -> OnnxGraph:
    graph = OnnxGraph.of(onnx.load(str(path)))
    prepare(graph)
    return graph


@pytest.mark.parametrize("kind", ["bevdepth", "bevformer"])
def test_prepared_graphs_compute_in_torch_what_the_network_does(tmp_path, kind):
    model = shake(narrow_student(kind))
    write_onnx(model, tmp_path / "student.onnx")
    graph = prepared(tmp_path / "student.onnx")
    example = example_inputs(model, CAMERAS)
    with torch.inference_mode():
        got = GraphNetwork(graph)({name: torch.from_numpy(value) for name, value in example.by_name.items()})
        wanted = model(*example.tensors())
    assert not [node for node in graph.nodes if node.op_type == "BatchNormalization"]
    for (name, value), reference in zip(got.items(), wanted, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-3, atol=1e-3, msg=name)


def test_the_int8_file_says_what_it_is_and_agrees_with_fp32(small, quantised):
    student, (file, found) = small[0], quantised
    assert file.spec.precision == "int8"
    assert file.spec.provenance["quantised from"] == student.model_id
    assert file.spec.provenance["calibration"].startswith("8 frames of 2 cameras of frames of a test")
    assert ("quantisation-aware training" in file.spec.provenance) == found.trained
    assert file.spec.accuracy == {}  # FP32's is not its own
    assert replace(file.spec, precision="fp32", provenance={}, accuracy={}) == replace(
        student.spec, provenance={}, accuracy={}
    )
    assert found.share >= LEAST_SHARE
    assert found.kept == ("/fusion/output/Conv",)
    assert found.agreements["calibrated"] > 0.9 and found.agreements["fp32"] > 0.99


@pytest.mark.parametrize(
    ("kind", "view", "gathers"), [("bevdet", "pull", 4), ("bevdet", "splat", 1), ("bevformer", "", 0)]
)
def test_the_view_transform_gathers_features_in_int8_and_probabilities_in_fp32(
    tmp_path, monkeypatch, kind, view, gathers
):
    """`pull` gathers the features of two cameras for every height, `splat` those of every point; BEVFormer samples."""
    if view:
        monkeypatch.setitem(KINDS, kind, (False, 1, ViewConfig(kind=view, heights=[0.5, 1.5])))
    write_onnx(narrow_student(kind), tmp_path / "student.onnx")
    graph = prepared(tmp_path / "student.onnx")
    found = gathered_features(graph)
    insert(graph, with_gathers(graph, Quantised(frozenset(), {}), dict.fromkeys(found, 0.1)))
    assert len(found) == min(gathers, 1)
    assert len([node for node in graph.nodes if node.op_type == "Gather" and reads_rounded(graph, node)]) == gathers


def reads_rounded(graph: OnnxGraph, gather: onnx.NodeProto) -> bool:
    """Whether what it gathers was rounded, and then only ordered."""
    node = graph.producer.get(gather.input[0])
    while node is not None and node.op_type in ("Reshape", "Transpose"):
        node = graph.producer.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"


def test_its_q_and_dq_are_symmetric_and_weights_int8(quantised):
    model = onnx.load(str(quantised[0].path))
    values = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        zero = values[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any()
    weights = [values[node.input[0]] for node in pairs if node.input[0] in values]
    assert weights and all(weight.dtype == np.int8 and weight.min() >= -127 for weight in weights)


def test_engines_give_what_training_saw(small):
    """The file as OpenVINO and ONNX Runtime run it, against the fake quantisation."""
    student, frames = small
    graph = prepared(student.path)
    layers = [node.name for node in graph.convolutions]
    ranges = Ranges(GraphNetwork(graph), [*rounded_tensors(graph, layers), *gathered_features(graph)])
    ranges.collect(frames[:2], lambda done: None)
    scales = ranges.scales(Method.percentile)
    chosen = with_gathers(graph, rounded_layers(graph, layers, scales), scales)
    network = GraphNetwork(graph)
    with torch.inference_mode(), rounded(network, chosen):
        wanted = network(tensors_of(frames[0].inputs))
    alone = Quantised(frozenset(layers[:1]), {"/Transpose_output_0": 1.0})  # the images, which lie within -1 and 1
    kinds = {"coarse": alone, "fine": Quantised(frozenset(), {})}
    found = sensitivities(network, frames[:1], kinds.__getitem__, list(kinds)[::-1], lambda done: None)
    assert [entry.layer for entry in found] == ["coarse", "fine"] and found[0].drop > 10 * abs(found[1].drop)
    insert(graph, chosen)
    path = student.path.with_name("untrained_int8.onnx")
    onnx.save(onnx_with_metadata(graph, student.path), str(path))
    inputs = {name: value.numpy() for name, value in tensors_of(frames[0].inputs).items()}
    for engine in ("openvino", "onnxruntime"):
        got = open_engine(engine, load_student(path), CAMERAS).run(inputs)["heatmap"]
        assert np.abs(got - wanted["heatmap"].numpy()).mean() < 2e-3, engine
        assert np.corrcoef(got.ravel(), wanted["heatmap"].numpy().ravel())[0, 1] > 0.99, engine


def onnx_with_metadata(graph: OnnxGraph, path: Path) -> onnx.ModelProto:
    model = graph.to_model()
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props})
    return model


@pytest.mark.skipif(find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX has wheels for x86_64 only")
def test_tensorrt_reads_both_precisions(small, quantised, tmp_path):
    student, frames = small
    halve(student, tmp_path / "half.onnx")
    sizes = {name: (value.shape, value.shape) for name, value in frames[0].inputs.items()}
    reports = build_reports([quantised[0].path, tmp_path / "half.onnx"], sizes)
    assert [report.complaints for report in reports] == [[], []]


def test_another_number_of_cameras_runs_in_int8(small, quantised):
    inputs = {name: value.numpy() for name, value in tensors_of(small[1][0].inputs).items()}
    for name in ("images", "camera_valid"):
        inputs[name] = np.concatenate([inputs[name], inputs[name][:1]])
    assert open_engine("openvino", quantised[0], CAMERAS + 1).run(inputs)["heatmap"].max() > 0


def test_fp16_is_half_as_large_and_nearly_equal(small, tmp_path):
    student, frames = small
    halve(student, tmp_path / "half.onnx")
    half = load_student(tmp_path / "half.onnx")
    assert half.spec.precision == "fp16"
    assert half.path.stat().st_size < 0.6 * student.path.stat().st_size
    inputs = {name: value.numpy() for name, value in tensors_of(frames[0].inputs).items()}
    for engine in ("openvino", "onnxruntime"):
        got = open_engine(engine, half, CAMERAS).run(inputs)["heatmap"]
        assert np.abs(got - frames[0].outputs["heatmap"]).max() < 0.02


def test_what_cannot_be_is_refused(small, quantised, tmp_path):
    student, frames = small
    with pytest.raises(StudentError, match="int8 already; quantise the FP32 file"):
        quantise(quantised[0], tmp_path / "x.onnx", GivenFrames(frames), None, silent)
    with pytest.raises(StudentError, match="int8 already"):
        halve(quantised[0], tmp_path / "x.onnx")
    with pytest.raises(EngineError, match="computes in FP32, and .* is in int8; use engine openvino"):
        open_engine("torch", quantised[0], CAMERAS)
    with pytest.raises(StudentError, match="precision 'int4' is unknown"):
        StudentSpec.from_json(replace(student.spec, precision="int4").to_json(), "x.onnx")


def test_frames_that_say_nothing_are_refused(small):
    _, frames = small
    with pytest.raises(DataError, match="bag gave 3 frames .* at least 8"):
        check_frames(frames[:3], "bag")
    plain = [replace(frame, inputs={**frame.inputs, "images": np.full((2, 4, 4, 3), 7, np.uint8)}) for frame in frames]
    with pytest.raises(DataError, match="of one colour"):
        check_frames(plain, "bag")
    red = np.zeros((2, 4, 4, 3), np.uint8)
    red[0, ..., 0] = 255  # of one colour each, but not the same
    with pytest.raises(DataError, match="of one colour"):
        check_frames([replace(frame, inputs={**frame.inputs, "images": red}) for frame in frames], "bag")
    with pytest.raises(DataError, match="the 8 frames of bag hold 4 different ones"):
        check_frames([*frames[:4], *frames[:4]], "bag")
    blank = [replace(frame, outputs={"heatmap": np.full((10, 4, 4), 0.05)}) for frame in frames]
    with pytest.raises(DataError, match="0 % of the 8 frames of bag: they are foreign"):
        check_frames(blank, "bag")
    forgetful = [replace(frame, inputs={**frame.inputs, "memory_valid": np.zeros(1)}) for frame in frames[:5]]
    with pytest.raises(DataError, match="38 % of the 8 frames of bag have a memory"):
        check_frames([*forgetful, *frames[5:]], "bag")
    check_frames(frames, "bag")


def test_frames_are_chosen_with_and_without_memory():
    """Sequences of five: every fifth frame would never have one."""
    sequences = [RecordedFrame({"memory_valid": np.array([float(i % 5 > 0)])}, {}) for i in range(120)]
    chosen = some_of(sequences, 24)
    assert len(chosen) == 24
    assert 12 < sum(frame.inputs["memory_valid"][0] for frame in chosen) < 24
    assert some_of(sequences[:3], 24) == sequences[:3]


def test_layers_stay_fp32_while_enough_are_int8():
    macs = {"a": 50, "b": 40, "c": 6, "d": 4}
    found = [Sensitivity("a", 0.5), Sensitivity("c", 0.2), Sensitivity("d", 0.1), Sensitivity("b", 0.001)]
    assert layers_kept(macs, found, ()) == ("c", "d")  # a is too large, b does no harm
    assert layers_kept(macs, found, ("d",)) == ("d", "c")
    with pytest.raises(StudentError, match="no convolution is called 'e'; the nearest names are "):
        layers_kept(macs, found, ("e",))
    with pytest.raises(StudentError, match="only 50 % of the convolution MACs"):
        layers_kept(macs, found, ("a",))


def test_ranges_leave_out_what_is_rare():
    counts = np.round(1e5 * np.exp(-np.arange(BINS) / 30))
    counts[-1] = 1.0  # far away from all others
    assert 200 < percentile_bin(counts) < 400
    assert 128 <= entropy_bin(counts) < 700
    assert percentile_bin(np.zeros(BINS)) == 1
    assert entropy_bin(np.full(BINS, 50.0)) == BINS, "of values spread evenly none is rare"
    assert entropy_bin(np.eye(1, BINS, 90)[0] + np.eye(1, BINS, 3)[0]) == 128, "nothing lies beyond"


@pytest.mark.parametrize(("greatest", "limit"), [(3000.0, 1.5), (1.0, 1.0)])
def test_ranges_are_those_of_the_values_and_not_of_zeros_or_one_outlier(greatest, limit):
    """A hundred thousand values up to 1, ten times as many zeros, and one value that may lie far off."""
    values = np.concatenate([np.linspace(0.01, 1, 100_000), np.zeros(1_000_000), [greatest]]).astype(np.float32)

    class Given:
        def __call__(self, inputs):
            self.on_tensor("t", torch.from_numpy(values))

    ranges = Ranges(Given(), ["t"])
    ranges.collect([RecordedFrame({}, {})], lambda done: None)
    assert ranges.scales(Method.percentile)["t"] * 127 == pytest.approx(limit, rel=0.03)


def test_a_graph_that_is_read_otherwise_is_refused(small):
    assert faithful(small[0], 0.999) == 0.999
    with pytest.raises(StudentError, match=r"agrees with the file to 93.0 % only"):
        faithful(small[0], 0.93)


def test_the_file_says_how_many_frames_gave_its_ranges(small):
    assert counted(small[1], small[1]) == "8 frames of 2 cameras"
    assert counted(small[1][:3], small[1]) == "3 of 8 frames of 2 cameras"
