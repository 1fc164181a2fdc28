"""Graphs made by hand: what is folded and equalised computes as before, and PyTorch computes as the engine."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kd_perception.errors import StudentError
from kd_perception.runtime.pipeline import HEATMAP_OUTPUT
from kd_training.quantise.agreement import agreement
from kd_training.quantise.equalise import equalise
from kd_training.quantise.fake import rounded
from kd_training.quantise.frames import RecordedFrame
from kd_training.quantise.graph import OnnxGraph
from kd_training.quantise.prepare import prepare
from kd_training.quantise.qdq import Quantised
from kd_training.quantise.ranges import Ranges
from kd_training.quantise.torch_graph import GraphNetwork

CHANNELS = 8
RNG = np.random.default_rng(0)
PICTURE = RNG.standard_normal((1, CHANNELS, 9, 10)).astype(np.float32)


def node(kind: str, inputs: str, output: str, **settings) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=f"{kind}_{output}", **settings)


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], outputs: str = "y") -> onnx.ModelProto:
    """From `x`, shaped as PICTURE."""
    graph = helper.make_graph(
        nodes, "made", [helper.make_tensor_value_info("x", TensorProto.FLOAT, PICTURE.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32) / 3


def answers(made: onnx.ModelProto, picture: np.ndarray = PICTURE) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": picture})


def changed(made: onnx.ModelProto, seen: np.ndarray = PICTURE) -> OnnxGraph:
    """The graph prepared and equalised by what one picture shows."""
    graph = OnnxGraph.of(onnx.ModelProto.FromString(made.SerializeToString()))  # it is edited in place
    prepare(graph)
    ranges = Ranges(GraphNetwork(graph), ())
    ranges.find_greatest([RecordedFrame({"x": seen}, {})], lambda done: None)
    equalise(graph, ranges.per_channel)
    return graph


def same(got: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for left, right in zip(got, wanted, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


NORM = {"gamma": RNG.uniform(0.5, 2, 8), "beta": weights(8), "mean": weights(8), "var": RNG.uniform(0.5, 2, 8)}
NORM = {name: value.astype(np.float32) for name, value in NORM.items()}


@pytest.mark.parametrize("second", ["a", "b"])
def test_a_norm_behind_a_sum_is_folded_once(second):
    """Also where both summands are the same convolution: it must not be scaled twice."""
    nodes = [node("Conv", "x w", "a"), node("Conv", "x v", "b"), node("Add", f"a {second}", "sum")]
    nodes.append(node("BatchNormalization", "sum gamma beta mean var", "y"))
    made = model(nodes, {"w": weights(8, 8, 1, 1), "v": weights(8, 8, 1, 1), **NORM})
    graph = changed(made)
    same(answers(graph.to_model()), answers(made))
    folded = not [entry for entry in graph.nodes if entry.op_type == "BatchNormalization"]
    assert folded == (second == "b")


def test_constants_that_are_named_twice_are_constants():
    nodes = [
        node("Identity", "var", "v"),
        node("Conv", "x w", "c"),
        node("BatchNormalization", "c gamma beta mean v", "y"),
    ]
    made = model(nodes, {"w": weights(8, 8, 1, 1), **NORM})
    graph = changed(made)
    assert [entry.op_type for entry in graph.nodes] == ["Conv"]
    same(answers(graph.to_model()), answers(made))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_equalising_changes_nothing_before_dense_grouped_and_depthwise_convolutions(groups):
    """The first is depthwise; both share their bias, as an exporter may have it."""
    nodes = [node("Conv", "x w b", "c", group=8), node("Relu", "c", "r"), node("Conv", "r v b", "y", group=groups)]
    uneven = np.array([0.02, 0.1, 0.3, 1, 2, 4, 8, 0.5], np.float32)
    constants = {"w": weights(8, 1, 1, 1) + uneven[:, None, None, None], "v": weights(8, 8 // groups, 1, 1)}
    made = model(nodes, {**constants, "b": np.abs(weights(8))})
    graph = changed(made)
    first = next(entry for entry in graph.nodes if entry.output[0] == "c")
    assert not np.allclose(graph.constants[first.input[1]], constants["w"]), "there was something to equalise"
    same(answers(graph.to_model()), answers(made))


@pytest.mark.parametrize("bounds", ["low high", "low"])
def test_equalising_keeps_below_the_ceiling_and_leaves_silent_layers_alone(bounds):
    nodes = [node("Conv", "x w b", "c", group=8), node("Clip", f"c {bounds}", "r"), node("Conv", "r v", "y")]
    constants = {"w": weights(8, 1, 1, 1), "b": np.zeros(8, np.float32), "v": weights(4, 8, 1, 1)}
    bounds = {"low": np.float32(0), "high": np.float32(0.6)}
    made = model(nodes, {**constants, **bounds})
    same(answers(changed(made).to_model()), answers(made))
    silent = model(nodes, {**constants, **bounds, "b": np.full(8, -100, np.float32)})
    graph = changed(silent)
    assert all(np.isfinite(value).all() for value in graph.constants.values())
    same(answers(graph.to_model()), answers(silent))


def cases() -> dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]]:
    flat = node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f")
    both = {"a": weights(1), "b": weights(1)}
    twice = {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}
    return {
        "uneven pads": ([node("Conv", "x w", "y", pads=[0, 0, 1, 2], strides=[2, 2])], {"w": weights(4, 8, 3, 3)}),
        "attributes left out": ([node("Conv", "x w", "y")], {"w": weights(4, 8, 3, 2)}),
        "uneven pool": ([node("MaxPool", "x", "y", kernel_shape=[3, 3], pads=[0, 0, 1, 1], strides=[2, 2])], {}),
        "pool rounded up": ([node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], {}),
        "transposed": ([node("ConvTranspose", "x w", "y", strides=[2, 2])], {"w": weights(8, 4, 2, 2)}),
        "greatest of three": ([node("Max", "x a b", "m"), node("Min", "m b x", "y")], both),
        "product": ([*flat, node("Gemm", "f w b", "y")], {"w": weights(8, 3), "b": weights(3)}),
        "scaled product": ([*flat, node("Gemm", "w f b", "y", **twice)], {"w": weights(8, 3), "b": weights(1)}),
    }  # fmt: skip


@pytest.mark.parametrize("case", cases())
def test_pytorch_computes_what_the_engine_does(case):
    nodes, constants = cases()[case]
    made = model(nodes, constants)
    with torch.inference_mode():
        got = GraphNetwork(OnnxGraph.of(made))({"x": torch.from_numpy(PICTURE)})
    same([got["y"].numpy()], answers(made))


def test_what_the_file_answers_is_not_rounded_though_it_is_read_rounded():
    made = model([node("Relu", "x", "y"), node("Conv", "y w", "z")], {"w": weights(4, 8, 1, 1)}, "y z")
    network = GraphNetwork(OnnxGraph.of(made))
    with torch.inference_mode(), rounded(network, Quantised(frozenset(), {"y": 0.5})):
        got = network({"x": torch.from_numpy(PICTURE)})
    same([got["y"].numpy()], answers(made)[:1])
    assert np.abs(got["z"].numpy() - answers(made)[1]).max() > 0.01


def test_a_network_that_has_lost_itself_agrees_with_nothing():
    made = model([node("Mul", "x f", HEATMAP_OUTPUT)], {"f": np.float32(np.nan)}, HEATMAP_OUTPUT)
    frame = RecordedFrame({"x": PICTURE}, {HEATMAP_OUTPUT: np.abs(PICTURE)})
    assert agreement(GraphNetwork(OnnxGraph.of(made)), [frame], None) == 0.0


def test_an_operator_that_nobody_knows_is_refused():
    with pytest.raises(StudentError, match="quantising knows no operator Celu"):
        GraphNetwork(OnnxGraph.of(model([node("Celu", "x", "y")], {})))
