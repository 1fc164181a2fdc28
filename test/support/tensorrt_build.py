"""Parses an ONNX file with TensorRT-RTX and builds engines of it, as a program: a fault in its native code or in its
threads, which outlive a build, then fails one test and not the whole run.

    python tensorrt_build.py FILE '{"input name": [sizes], ...}' SM86 SM89    # prints one JSON
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """What TensorRT made of a file."""

    complaints: list[str]  # of the parser; none when the file is legal
    inputs: list[str]
    engine_bytes: dict[str, int]  # per GPU generation; 0 where none could be built
    errors: list[str]  # logged by the parser and the builder


def tensorrt_report(path: Path, shapes: Mapping[str, Sequence[int]], capabilities: Sequence[str] = ()) -> Report:
    """Parse `path` and, where that succeeds, build an engine per capability with dynamic sizes fixed to `shapes`."""
    command = [sys.executable, __file__, str(path), json.dumps({name: list(shape) for name, shape in shapes.items()})]
    result = subprocess.run([*command, *capabilities], capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(f"TensorRT ended with {result.returncode} on {path.name}: {result.stderr[-2000:]}")
    return Report(**json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    import tensorrt_rtx_bindings as trt

    class Log(trt.ILogger):
        """Collects errors; TensorRT keeps the first logger it meets, so there is one."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: trt.ILogger.Severity, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    def build(capability: str) -> int:
        """Size of a serialised engine for one GPU generation, 0 for none."""
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
        profile = builder.create_optimization_profile()
        for name, shape in shapes.items():
            profile.set_shape(name, shape, shape, shape)
        config.add_optimization_profile(profile)
        engine = builder.build_serialized_network(network, config)
        return 0 if engine is None else engine.nbytes

    path, shapes, capabilities = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    legal = parser.parse_from_file(path)
    report = Report(
        complaints=[parser.get_error(i).desc() for i in range(parser.num_errors)],
        inputs=[network.get_input(i).name for i in range(network.num_inputs)],
        engine_bytes={capability: build(capability) for capability in capabilities} if legal else {},
        errors=log.errors,
    )
    print(json.dumps(report.__dict__))


if __name__ == "__main__":
    main()
