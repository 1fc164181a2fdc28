"""What an engine's profile says of operators: work by shapes, bytes by types, and where they stand in the network."""

import pytest

from kd_bench.latency.limits import MachineLimits
from kd_bench.latency.stages import HEADINGS, OPERATOR_HEADINGS, slowest_rows, stage_rows, stage_sums
from kd_bench.operators import (
    BEV,
    ELSE,
    IMAGE,
    VIEW,
    Operator,
    multiply_adds,
    operators_of_profile,
    with_stages,
)

LIMITS = MachineLimits(2, fp32_macs=1e9, int8_macs=4e9, cached_bytes=1e9, memory_bytes=1e8)


def operator(
    name: str, ms: float = 1.0, macs: float = 0.0, kind: str = "Convolution", precision: str = "fp32"
) -> Operator:
    return Operator(name, (name,), kind, precision, macs, 1e3, ms)


@pytest.mark.parametrize(
    ("kind", "weight", "taken", "given", "expected"),
    [
        ("Conv", (8, 4, 3, 3), (1, 4, 10, 10), (1, 8, 10, 10), 800 * 36),
        ("Conv", (8, 1, 3, 3), (1, 8, 10, 10), (1, 8, 10, 10), 800 * 9),  # depthwise, as ONNX keeps it
        ("Convolution", (8, 1, 1, 3, 3), (1, 8, 10, 10), (1, 8, 10, 10), 800 * 9),  # and as OpenVINO does
        ("Convolution", (2, 4, 3, 3, 3), (1, 6, 5, 5), (1, 8, 5, 5), 200 * 27),
        ("MatMul", (16, 7), (5, 16), (5, 7), 35 * 16),
        ("Gather", (), (5, 16), (5, 16), 0),
    ],
)
def test_work_follows_from_shapes(kind, weight, taken, given, expected):
    assert multiply_adds(kind, weight, taken, given) == expected


def test_operators_without_a_scope_belong_to_the_one_before():
    names = ["/Cast", "/backbone/stem/Conv", "/Softmax", "/view/Gather_5", "/down_half/first/Conv", "/heatmap.2/Conv"]
    found = with_stages([operator(name) for name in [*names, "/layers.0/attention/MatMul", "reorder"]])
    assert [entry.part for entry in found] == [IMAGE, IMAGE, IMAGE, VIEW, BEV, BEV, ELSE, ELSE]
    assert [entry.stage for entry in found][-4:] == ["BEV encoder", "heads", "layers", "layers"]


def test_a_profile_of_onnxruntime_becomes_operators():
    def event(name: str, kind: str, us: int, read: list[dict], written: list[dict]) -> dict:
        facts = {"op_name": kind, "input_type_shape": read, "output_type_shape": written}
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": us, "args": facts}

    fp32 = [{"float": [1, 4, 10, 10]}, {"float": [8, 4, 3, 3]}, {"float": [8]}]
    int8 = [{"int8": [1, 4, 10, 10]}, {"float": []}, {"int8": []}, {"int8": [8, 4, 3, 3]}]
    runs = []
    for us in (90_000, 90_000, 90_000, 2_000, 1_000, 3_000):  # the first three warm up
        runs.append(event("/neck/Conv", "Conv", us, fp32, [{"float": [1, 8, 10, 10]}]))
        runs.append(event("/view/Conv", "QLinearConv", us, int8, [{"int8": [1, 8, 10, 10]}]))
        runs.append({"cat": "Session", "name": "model_run", "dur": us})
    first, second = operators_of_profile(runs)
    assert (first.ms, first.macs, first.stage) == (1.0, 800 * 36, ELSE)
    assert first.moved == 4 * (400 + 288 + 8 + 800) and first.precision == "fp32"
    assert second.macs == first.macs and second.precision == "int8"
    assert second.moved == 400 + 4 + 1 + 288 + 800


def test_stages_sum_up_and_the_slowest_lose_most():
    operators = with_stages(
        [
            operator("/backbone/a/Conv", ms=2.0, macs=1e6),
            operator("/backbone/b/Conv", ms=4.0, macs=4e6, precision="int8"),
            operator("/view/" + "long/" * 20 + "Gather", ms=3.5, kind="Gather"),
        ]
    )
    backbone, view, whole = stage_sums(operators, LIMITS)
    assert (backbone.name, backbone.ms, backbone.macs) == ("backbone", 6.0, 5e6)
    assert backbone.least_ms == pytest.approx(2.0) and view.name == "view transform"
    assert whole.ms == pytest.approx(9.5)
    rows = slowest_rows(operators, LIMITS, 2)
    assert rows[0][0].endswith("Gather") and rows[1][1] == "Convolution int8"
    for headings, lines in ((HEADINGS, stage_rows([backbone, view, whole])), (OPERATOR_HEADINGS, rows)):
        widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
        assert sum(widths) + 3 * len(widths) + 1 <= 80
