"""What an inference engine is to this project, and how one is opened by name.

Engines join through the entry-point group `kd.engines`, so kd_perception needs nothing of the packages that bring them.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np

from kd_perception.errors import EngineError
from kd_perception.student import Student

ENTRY_POINT_GROUP = "kd.engines"
AUTO_ORDER = ("openvino", "onnxruntime")


class Engine(Protocol):
    """A student file opened for a fixed number of cameras. Not thread-safe; one engine serves one caller at a time."""

    name: str

    def __init__(self, student: Student, cameras: int, threads: int) -> None:
        """Open the file; `threads` 0 lets the library choose. Raises EngineError if the library or the model
        refuses."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named inputs of the student file -> its named outputs, fresh arrays or views valid until the next call."""


def engine_names() -> list[str]:
    """Names of the engines that installed packages offer."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})


def open_engine(name: str, student: Student, cameras: int, threads: int = 0) -> Engine:
    """Open `student` with the named engine, or with 'auto' the first of OpenVINO and ONNX Runtime that works.

    Raises EngineError naming what was tried and why it failed.
    """
    offered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name != "auto" and name not in offered:
        raise EngineError(f"engine '{name}' is not installed; choose one of: auto, {', '.join(sorted(offered))}")
    failures = []
    for candidate in AUTO_ORDER if name == "auto" else (name,):
        if candidate not in offered:
            failures.append(f"{candidate}: not installed")
            continue
        try:
            return offered[candidate].load()(student, cameras, threads)
        except (ImportError, EngineError) as error:
            failures.append(f"{candidate}: {error}")
    raise EngineError(f"no engine could open {student.path}: {'; '.join(failures)}")


def check_inputs(
    engine: str, shapes: Mapping[str, tuple[int | None, ...]], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The inputs a file declares, picked from those offered; raises EngineError naming one that is absent or of another
    shape.

    `shapes` holds None for a size that depends on the rig. Offering more than the file uses is fine: an export may have
    optimised an input away.
    """
    for name, shape in shapes.items():
        if name not in inputs:
            raise EngineError(
                f"engine {engine}: the student file wants input '{name}', which this version of kd does not make; "
                "export it again"
            )
        got = inputs[name].shape
        if len(got) != len(shape) or any(size not in (None, actual) for size, actual in zip(shape, got, strict=True)):
            wanted = "x".join("any" if size is None else str(size) for size in shape)
            raise EngineError(
                f"engine {engine}: input '{name}' is {'x'.join(map(str, got))} but the student file wants {wanted}; "
                "open the engine for this rig's camera count"
            )
    return {name: inputs[name] for name in shapes}
