"""Engines opened by name.

They join through the entry-point group `kd.engines`, so kd_perception needs nothing of the packages that bring them.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from kd_perception.engines.fallback import FallbackEngine
from kd_perception.engines.protocol import ENGINE_DEFAULTS, Engine, EngineOptions, ModelFile
from kd_perception.errors import EngineError, EngineNotInstalledError

ENTRY_POINT_GROUP = "kd.engines"
ON_GPUS = ("tensorrt", "onnxruntime-rtx", "onnxruntime-cuda")
AUTO_ORDER = (*ON_GPUS, "openvino", "onnxruntime")
AUTO_ORDERS = {"auto": AUTO_ORDER, "auto-bf16": (*ON_GPUS, "openvino-bf16", "openvino", "onnxruntime")}


def engine_names() -> list[str]:
    """Names of the engines that installed packages offer."""
    return sorted(_offered())


@cache
def _offered() -> dict[str, EntryPoint]:
    """Engines of installed packages, by name; read once, since what all packages offer is read for it."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def open_engine(
    name: str,
    model: ModelFile,
    cameras: int = 0,
    options: EngineOptions = ENGINE_DEFAULTS,
) -> FallbackEngine:
    """Open a model's file with the named engine, or with a name of AUTO_ORDERS the first of its order that works.

    `cameras`: how many, of a file that has a camera axis.

    In an order the next engine takes over when one fails while running; an engine asked for by its own name is never
    replaced. Raises EngineError naming what was tried and why it failed.
    """
    offered = _offered()
    if name not in AUTO_ORDERS and name not in offered:
        known = ", ".join((*AUTO_ORDERS, *sorted(offered)))
        raise EngineError(f"engine '{name}' is not installed; choose one of: {known}")

    def open_one(candidate: str) -> Engine:
        if candidate not in offered:
            raise EngineNotInstalledError("not installed")
        return offered[candidate].load()(model, cameras, options)

    try:
        return FallbackEngine(AUTO_ORDERS.get(name, (name,)), open_one, options.report)
    except EngineError as error:
        raise EngineError(f"no engine could open {model.path}: {error}") from error
