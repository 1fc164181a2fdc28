"""What an inference engine is to this project: one small protocol, and what its implementations share."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from kd_perception.errors import EngineError, InputError


class ModelFile(Protocol):
    """A file that kd export wrote, of a student or a teacher (`student.spec.Student`, `teacher.spec.Teacher`)."""

    kind: ClassVar[str]  # "student" or "teacher"

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def spec(self) -> object:
        """What it states of itself."""

    @property
    def sha256(self) -> str:
        """The hash of its bytes, in hexadecimal."""

    @property
    def model_id(self) -> str:
        """Its name and a short hash."""


class DeviceTensor(Protocol):
    """A tensor that stays where the engine computed it, for example on a GPU: an opaque handle that owns its memory.

    An engine gives it back for the output `kd_perception.student.spec.MEMORY_OUTPUT` and takes it as an input.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""

    @property
    def dtype(self) -> np.dtype:
        """Its type as NumPy's."""

    def numpy(self) -> np.ndarray:
        """A copy on the host; raises EngineError if the device no longer responds."""


Tensor = np.ndarray | DeviceTensor


def ignore(sentence: str) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class EngineOptions:
    """How to open an engine.

    threads: of a CPU engine, 0 lets the library choose; cache_folder: where built engines are kept, None is
    `$XDG_CACHE_HOME/kd_perception/engines`; report: called with one sentence now and then while an engine is built.
    """

    threads: int = 0
    cache_folder: Path | None = None
    report: Callable[[str], None] = ignore


ENGINE_DEFAULTS = EngineOptions()


class Engine(Protocol):
    """A model's file opened for a fixed number of cameras. Not thread-safe; one engine serves one caller at a time.

    not_kept: why a built engine could not be kept for the next start; empty if it was, or if nothing is built.
    """

    name: str
    not_kept: str

    def __init__(self, model: ModelFile, cameras: int, options: EngineOptions) -> None:
        """Open the file; `cameras` is 0 for one that has no camera axis. Raises EngineError if the library or the
        model refuses."""

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named inputs of the file -> its named outputs, fresh arrays or views valid until the next call.

        A read-only input array is a constant: as long as the same array comes again, an engine may use what it copied
        before. Raises InputError for inputs that the file does not take, EngineError if the engine fails.
        """


def keep(output: Tensor) -> Tensor:
    """An output that outlives the engine's next run: arrays are copied, handles own what they name."""
    return output.copy() if isinstance(output, np.ndarray) else output


def for_rig(cameras: int) -> str:
    """For sentences: how many cameras a file is opened for, if it has a camera axis."""
    return f" for {cameras} cameras" if cameras else ""


def read_unchanged(model: ModelFile) -> bytes:
    """A model file's bytes; raises EngineError if it is gone or no longer the file that was loaded.

    A file that is replaced under a running robot must not be mixed with the metadata of the old one.
    """
    try:
        data = model.path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"{model.kind} file {model.path} cannot be read any more ({error.strerror}); put it back and configure "
            "again"
        ) from error
    if hashlib.sha256(data).hexdigest() != model.sha256:
        raise EngineError(
            f"{model.kind} file {model.path} changed since it was loaded (it was {model.model_id}); configure again to "
            "use the new file"
        )
    return data


def check_inputs(
    engine: str, shapes: Mapping[str, tuple[int | None, ...]], inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The inputs a file declares, picked from those offered; raises InputError naming one that is absent or of another
    shape.

    `shapes` holds None for a size that depends on the rig. Offering more than the file uses is fine: an export may have
    optimised an input away.
    """
    for name, shape in shapes.items():
        if name not in inputs:
            raise InputError(
                f"engine {engine}: the student file wants input '{name}', which this version of kd does not make; "
                "export it again"
            )
        got = inputs[name].shape
        if len(got) != len(shape) or any(size not in (None, actual) for size, actual in zip(shape, got, strict=True)):
            wanted = "x".join("any" if size is None else str(size) for size in shape)
            raise InputError(
                f"engine {engine}: input '{name}' is {'x'.join(map(str, got))} but the student file wants {wanted}; "
                "open the engine for this rig's camera count"
            )
    return {name: inputs[name] for name in shapes}
