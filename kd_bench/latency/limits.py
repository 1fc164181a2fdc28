"""What a machine can do at most: products of matrices in float32 and int8, and bytes that are copied.

An operator needs at least the longer of multiply-adds / rate and bytes / bandwidth (roofline, Williams et al. 2009).
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kd_perception.engines.openvino import SETTINGS, THREADS, shared_core

ROWS, WIDTH, LAYERS = 1024, 2048, 4  # of the products: beyond this size the rate no longer grows
SCALE = 0.02  # of int8 values; any will do
TENSOR_BYTES, BIG_BYTES = 4 << 20, 256 << 20  # a map of 64 channels of 128 x 128 cells; beyond most caches
OPSET = 17


@dataclass(frozen=True)
class MachineLimits:
    """Per second, of all `threads` together: multiply-adds in float32 and in int8, bytes read or written.

    cached_bytes: in tensors of an operator's usual size, which stay in the caches; memory_bytes: beyond them.
    """

    threads: int
    fp32_macs: float
    int8_macs: float
    cached_bytes: float
    memory_bytes: float

    def least_ms(self, precision: str, macs: float, moved: float) -> float:
        """Milliseconds that an operator needs at least which reads and writes `moved` bytes."""
        rate = self.int8_macs if precision == "int8" else self.fp32_macs
        return 1e3 * max(macs / rate, moved / self.cached_bytes)

    def rows(self) -> list[tuple[str, ...]]:
        """As text: the limit and its value."""
        return [
            ("matrix product, float32", f"{self.fp32_macs / 1e9:.0f} GMAC/s"),
            ("matrix product, int8", f"{self.int8_macs / 1e9:.0f} GMAC/s"),
            (f"copy of {TENSOR_BYTES >> 20} MB, in the caches", f"{self.cached_bytes / 1e9:.1f} GB/s"),
            (f"copy of {BIG_BYTES >> 20} MB", f"{self.memory_bytes / 1e9:.1f} GB/s"),
        ]


def measure_limits(threads: int, rounds: int = 8) -> MachineLimits:
    """The best of `rounds` measurements of each limit, with `threads` threads; takes a few seconds."""
    macs = ROWS * WIDTH * WIDTH * LAYERS
    rates = [macs / _best_s(_products(threads, int8=int8), rounds) for int8 in (False, True)]
    bandwidths = [_bandwidth(threads, size, rounds) for size in (TENSOR_BYTES, BIG_BYTES)]
    return MachineLimits(threads, *rates, *bandwidths)


def product_model(rows: int, width: int, layers: int, *, int8: bool) -> onnx.ModelProto:
    """`layers` products one after the other, each (rows, width) by (width, width), between symmetric Q/DQ if int8."""
    rng = np.random.default_rng(0)
    nodes, constants, last = [], [], "x"
    if int8:
        constants += [numpy_helper.from_array(np.float32(SCALE), "scale"), numpy_helper.from_array(np.int8(0), "zero")]
    for layer in range(layers):
        name = f"weight_{layer}"
        if int8:
            weight = rng.integers(-127, 128, (width, width), dtype=np.int8)
            nodes += [
                helper.make_node("QuantizeLinear", [last, "scale", "zero"], [f"q_{layer}"]),
                helper.make_node("DequantizeLinear", [f"q_{layer}", "scale", "zero"], [f"d_{layer}"]),
                helper.make_node("DequantizeLinear", [f"int_{layer}", "scale", "zero"], [name]),
            ]
            constants.append(numpy_helper.from_array(weight, f"int_{layer}"))
            last = f"d_{layer}"
        else:
            weight = rng.standard_normal((width, width), dtype=np.float32) / np.float32(width**0.5)
            constants.append(numpy_helper.from_array(weight, name))
        nodes.append(helper.make_node("MatMul", [last, name], [f"y_{layer}"]))
        last = f"y_{layer}"
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, width]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "products", ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def _products(threads: int, *, int8: bool) -> Callable[[], object]:
    core = shared_core()
    model = core.read_model(product_model(ROWS, WIDTH, LAYERS, int8=int8).SerializeToString())
    request = core.compile_model(model, "CPU", {**SETTINGS, THREADS: threads}).create_infer_request()
    inputs = {0: np.full((ROWS, WIDTH), 0.5, np.float32)}
    return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)


def _copies(threads: int, size: int, repeats: int) -> Callable[[], object]:
    """Copies `size` bytes `repeats` times, in `threads` parts at the same time."""
    pool = ThreadPoolExecutor(threads)
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))

    def copy(part: tuple[np.ndarray, np.ndarray]) -> None:
        for _ in range(repeats):
            np.copyto(*part)

    return lambda: list(pool.map(copy, parts))


def _bandwidth(threads: int, size: int, rounds: int) -> float:
    """Bytes read and written per second by copies of `size` bytes."""
    repeats = max(1, BIG_BYTES // size)
    return 2 * size * repeats / _best_s(_copies(threads, size, repeats), rounds)


def _best_s(run: Callable[[], object], rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
