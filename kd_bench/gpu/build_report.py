"""Parses ONNX files with TensorRT-RTX and builds engines of them, as a program: a fault in its native code or in its
threads, which outlive a build, then fails one model and not the whole run.

    python build_report.py '{"files": [FILE, ...], "sizes": {"input name": [[smallest sizes], [largest sizes]], ...},
        "generations": ["SM86", ...]}'    # prints one JSON line, a report for each file
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Sizes = Mapping[str, tuple[Sequence[int], Sequence[int]]]  # smallest and largest of each input of open size, by name


@dataclass(frozen=True)
class BuildReport:
    """What TensorRT-RTX made of a file.

    complaints: the parser's, none when the file is legal; inputs: names; engine_bytes: per GPU generation, 0 where none
    could be built; errors: what parser and builder logged.
    """

    complaints: list[str]
    inputs: list[str]
    engine_bytes: dict[str, int]
    errors: list[str]


def build_reports(files: Sequence[Path], sizes: Sizes, generations: Sequence[str] = ()) -> list[BuildReport]:
    """Parse files of the same inputs and, where that succeeds, build an engine for each generation ("SM86") of GPUs.

    Raises RuntimeError with the last words if the program faults.
    """
    task = {"files": [str(path) for path in files], "sizes": sizes, "generations": generations}
    result = subprocess.run([sys.executable, __file__, json.dumps(task)], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"TensorRT ended with {result.returncode} on {files}: {result.stderr[-2000:]}")
    return [BuildReport(**report) for report in json.loads(result.stdout.splitlines()[-1])]


def main() -> None:
    """The program."""
    import tensorrt_rtx_bindings as trt

    class Log(trt.ILogger):
        """Collects errors; TensorRT keeps the first logger it meets, so there is one."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: trt.ILogger.Severity, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    def built_bytes(network: trt.INetworkDefinition, generation: str) -> int:
        """Size of a serialised engine for one GPU generation, 0 for none."""
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, generation), 0)
        profile = builder.create_optimization_profile()
        for name, (smallest, largest) in task["sizes"].items():
            profile.set_shape(name, smallest, largest, largest)
        config.add_optimization_profile(profile)
        engine = builder.build_serialized_network(network, config)
        return 0 if engine is None else engine.nbytes

    def report(file: str) -> BuildReport:
        log.errors = []
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, log)
        legal = parser.parse_from_file(file)
        return BuildReport(
            complaints=[parser.get_error(i).desc() for i in range(parser.num_errors)],
            inputs=[network.get_input(i).name for i in range(network.num_inputs)],
            engine_bytes={name: built_bytes(network, name) for name in task["generations"]} if legal else {},
            errors=log.errors,
        )

    task = json.loads(sys.argv[1])
    log = Log()
    builder = trt.Builder(log)
    print(json.dumps([asdict(report(file)) for file in task["files"]]))


if __name__ == "__main__":
    main()
