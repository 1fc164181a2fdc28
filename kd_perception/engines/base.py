"""Engines opened by name.

They join through the entry-point group `kd.engines`, so kd_perception needs nothing of the packages that bring them.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from kd_perception.engines.fallback import FallbackEngine
from kd_perception.engines.protocol import ENGINE_DEFAULTS, Engine, EngineOptions, ModelFile
from kd_perception.errors import EngineError, EngineNotInstalledError

ENTRY_POINT_GROUP = "kd.engines"
AUTO_ORDER = ("tensorrt", "onnxruntime-rtx", "onnxruntime-cuda", "openvino", "onnxruntime")  # GPUs first


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
    """Open a model's file with the named engine, or with 'auto' the first of AUTO_ORDER that works.

    `cameras`: how many, of a file that has a camera axis.

    With 'auto' the next engine takes over when one fails while running; an engine asked for by name is never replaced.
    Raises EngineError naming what was tried and why it failed.
    """
    offered = _offered()
    if name != "auto" and name not in offered:
        raise EngineError(f"engine '{name}' is not installed; choose one of: auto, {', '.join(sorted(offered))}")

    def open_one(candidate: str) -> Engine:
        if candidate not in offered:
            raise EngineNotInstalledError("not installed")
        return offered[candidate].load()(model, cameras, options)

    try:
        return FallbackEngine(AUTO_ORDER if name == "auto" else (name,), open_one, options.report)
    except EngineError as error:
        raise EngineError(f"no engine could open {model.path}: {error}") from error
