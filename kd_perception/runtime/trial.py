"""A trial of a pipeline before it answers frames: what cannot run is found, and what is built once is built."""

from collections.abc import Sequence

import numpy as np

from kd_perception.engines.protocol import Tensor, keep
from kd_perception.errors import EngineError, KdError
from kd_perception.geometry.camera import Camera
from kd_perception.runtime.bev_memory import empty_memory, memory_inputs
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.student.spec import MEMORY_OUTPUT, OUTPUTS


def try_out(pipeline: Pipeline, cameras: Sequence[Camera]) -> None:
    """Set the rig and run everything on black images, with memory once without a past and once with one.

    Leaves no trace: neither its memory nor its watch learns of it. Raises EngineError if the engine or the decoder
    cannot run, or an output is not finite; CalibrationError as `set_rig` does.
    """
    pipeline.set_rig(cameras)
    record = FrameRecord(images=[np.zeros((camera.height, camera.width, 3), np.uint8) for camera in cameras])
    pipeline.prepare(record)
    spec = pipeline.student.spec
    try:
        outputs = _run(pipeline, record, {} if spec.memory is None else empty_memory(spec.memory, spec.grid))
        if spec.memory is not None:
            feature = keep(outputs[MEMORY_OUTPUT])
            _run(pipeline, record, memory_inputs(spec.grid, feature, np.eye(4), spec.memory.interval_s))
    except KdError:
        raise
    except Exception as fault:  # engines raise their libraries' own types, the decoder what a foreign array causes
        raise EngineError(
            f"{pipeline.student.path} does not run on {pipeline.engine.name} ({type(fault).__name__}: {fault}); export "
            "it again"
        ) from fault


def _run(pipeline: Pipeline, record: FrameRecord, memory: dict[str, Tensor]) -> dict[str, Tensor]:
    outputs = pipeline.engine.run({**record.inputs, **memory})
    for name in OUTPUTS:
        if not np.isfinite(outputs[name]).all():
            raise EngineError(f"{pipeline.student.path}: its {name} is not finite on black images; export it again")
    pipeline.decode(outputs)
    return outputs
