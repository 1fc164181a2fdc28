"""The machine's limits: what is multiplied in the measurement, and what follows for an operator."""

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

from kd_bench.latency.limits import SCALE, MachineLimits, measure_limits, product_model


@pytest.mark.parametrize("int8", [False, True])
def test_the_measured_products_are_products(int8: bool):
    model = product_model(4, 16, 2, int8=int8)
    constants = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    x = np.random.default_rng(1).uniform(-2.0, 2.0, (4, 16)).astype(np.float32)
    (got,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    expected = x
    for layer in range(2):
        if int8:
            expected = SCALE * np.clip(np.round(expected / SCALE), -128, 127)
            expected = expected @ (SCALE * constants[f"int_{layer}"].astype(np.float32))
        else:
            expected = expected @ constants[f"weight_{layer}"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_an_operator_needs_what_it_needs_longest():
    limits = MachineLimits(2, fp32_macs=1e9, int8_macs=4e9, cached_bytes=1e9, memory_bytes=1e8)
    assert limits.least_ms("fp32", 2e6, 1e6) == pytest.approx(2.0)
    assert limits.least_ms("int8", 2e6, 1e6) == pytest.approx(1.0)  # bytes now take longer than the products
    assert len(limits.rows()) == 4


def test_limits_are_measured(monkeypatch: pytest.MonkeyPatch):
    for name, small in {"ROWS": 32, "WIDTH": 64, "BIG_BYTES": 1 << 20, "TENSOR_BYTES": 1 << 16}.items():
        monkeypatch.setattr(f"kd_bench.latency.limits.{name}", small)
    limits = measure_limits(threads=1, rounds=1)
    assert min(limits.fp32_macs, limits.int8_macs, limits.cached_bytes, limits.memory_bytes) > 1e6
