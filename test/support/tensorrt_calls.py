"""TensorRT-RTX's bindings in place of TensorRT's, as a program: builds with our builder, and looks calls up.

    python tensorrt_calls.py build '{"student": FILE, "cameras": 6, "folder": DIR, "operator": "", "interrupt": false}'
    python tensorrt_calls.py check '{"calls": [[class, method, [arguments]]], "properties": [[class, property]]}'

Each prints one JSON line last.
"""

import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]  # this file also runs as a program, which finds no test support
CAPABILITY = "SM86"
Call = tuple[str, str, tuple[str, ...]]  # class, method, names of the arguments given


@dataclass(frozen=True)
class Rehearsal:
    """What became of a build with kd_perception.engines.tensorrt_build."""

    error: str
    plan_bytes: int
    same_from_cache: bool
    rebuilt_after_damage: bool
    reports: list[str]
    largest: dict[str, list[int]]
    tf32: bool


def rehearsed_build(
    student: Path, cameras: int, folder: Path, operator: str = "", interrupt: bool = False
) -> Rehearsal:
    """Build, keep, fetch, damage and build again; `operator` replaces the file's first operator, `interrupt` sends
    SIGINT, as Ctrl-C does, in the middle of the build."""
    task = {
        "student": str(student), "cameras": cameras, "folder": str(folder), "operator": operator,
        "interrupt": interrupt,
    }  # fmt: skip
    return Rehearsal(**_program("build", task))


def checked_calls(calls: Sequence[Call], properties: Sequence[tuple[str, str]]) -> list[str]:
    """One sentence for each call or property that the bindings do not have."""
    return _program("check", {"calls": calls, "properties": properties})


def _program(name: str, task: dict[str, Any]) -> Any:
    result = subprocess.run([sys.executable, __file__, name, json.dumps(task)], capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(f"TensorRT ended with {result.returncode}: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def build(task: dict[str, Any]) -> dict[str, Any]:
    import onnx
    import tensorrt_rtx_bindings as trt

    from kd_perception.engines import build_cache, rig_sizes, tensorrt_build
    from kd_perception.engines.cuda import Gpu
    from kd_perception.errors import EngineError
    from kd_perception.student.spec import load_student

    class NetworkForAGpuElsewhere(tensorrt_build.ParsedNetwork):
        """Names the generation to build for, which TensorRT itself takes from the GPU."""

        def config(self, *arguments: Any) -> Any:
            config = super().config(*arguments)
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, CAPABILITY), 0)
            facts["tf32"] = config.get_flag(trt.BuilderFlag.TF32)
            return config

    facts = {"tf32": True}
    reports: list[str] = []
    tensorrt_build.ParsedNetwork = NetworkForAGpuElsewhere
    tensorrt_build.REPORT_EVERY_S = 0.0
    folder, path = Path(task["folder"]), Path(task["student"])
    if task["operator"]:
        model = onnx.load(str(path))
        model.graph.node[0].op_type = task["operator"]
        onnx.save(model, str(path))
    student = load_student(path)
    profile = rig_sizes.rig_profile(student.spec, task["cameras"])
    gpu = Gpu("a GPU elsewhere", (8, 6), 14)

    def report(sentence: str) -> None:
        reports.append(sentence)
        if task["interrupt"] and [line for line in reports if line.startswith("building: ")] == [sentence]:
            os.kill(os.getpid(), signal.SIGINT)

    request = tensorrt_build.PlanRequest(trt, gpu, student, profile, folder, report)
    warnings.simplefilter("ignore", DeprecationWarning)  # timing caches do nothing in TensorRT-RTX
    try:
        built = tensorrt_build.built_plan(request)
    except (EngineError, KeyboardInterrupt) as error:
        return asdict(Rehearsal(str(error) or type(error).__name__, 0, False, False, reports, {}, facts["tf32"]))
    kept = tensorrt_build.kept_plan(request)
    kept_file = folder / request.key.file_name()
    kept_file.write_bytes(kept_file.read_bytes()[:-1])
    rebuilt = tensorrt_build.kept_plan(request) is None and len(tensorrt_build.built_plan(request).data) > 0
    fetched = build_cache.fetch(folder, request.key)
    same = kept is not None and kept.data == built.data and replace(kept, built=True) == built
    largest = {name: list(shape) for name, shape in profile.largest.items()}
    return asdict(Rehearsal("", len(fetched), same, rebuilt, reports, largest, facts["tf32"]))


def check(task: dict[str, Any]) -> list[str]:
    import tensorrt_rtx_bindings as trt

    problems = []
    for kind, method, arguments in task["calls"]:
        found = getattr(getattr(trt, kind, None), method, None)
        if found is None:
            problems.append(f"{kind}.{method} does not exist")
        elif not any(_accepts(parameters, arguments) for parameters in _signatures(method, found.__doc__ or "")):
            problems.append(f"{kind}.{method} does not take {arguments}: {found.__doc__[:300]}")
    for kind, name in task["properties"]:
        if not isinstance(getattr(getattr(trt, kind, None), name, None), property):
            problems.append(f"{kind}.{name} is no property")
    return problems


def _signatures(method: str, documentation: str) -> list[list[tuple[str, bool]]]:
    """Of each overload that pybind11 documents: (name, whether it has a default) of the parameters after self."""
    overloads = re.findall(rf"^(?:\d+\. )?{re.escape(method)}\((self\b.*)\) ->", documentation, re.MULTILINE)
    return [
        [(name, "=" in rest) for name, rest in re.findall(r"(\w+): ([^,()]+)", overload)][1:] for overload in overloads
    ]


def _accepts(parameters: list[tuple[str, bool]], arguments: Sequence[str]) -> bool:
    names = [name for name, _ in parameters]
    rest = parameters[len(arguments) :]
    return names[: len(arguments)] == list(arguments) and all(optional for _, optional in rest)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    print(json.dumps({"build": build, "check": check}[sys.argv[1]](json.loads(sys.argv[2]))))
