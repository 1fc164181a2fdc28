"""`kd bench tensorrt`: every kind of file in every precision, parsed and built for generations of GPUs without having
one, by TensorRT-RTX's own parser and builder."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from kd_bench.gpu.build_report import BuildReport, Sizes, build_reports
from kd_bench.in_precision import Precision, with_precision
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.engines.rig_sizes import rig_profile
from kd_perception.errors import ConfigError
from kd_training.checkpoints.export import example_inputs, write_onnx
from kd_training.checkpoints.export_teacher import example_cloud, export_teacher, teacher_inputs
from kd_training.checkpoints.onnx_files import ExampleInputs
from kd_training.config.experiment import load_config
from kd_training.models.students import build_student
from kd_training.models.students.camera_student import CameraStudent
from kd_training.models.teachers import build_teacher

GENERATIONS = ("SM86", "SM89", "SM120")  # Ampere, Ada and Blackwell; SM90 (Hopper) is no RTX card
STUDENTS = {
    "bevdet": ("bevdet_demo", []),
    "bevdet, splat": ("bevdet_demo", ["model.view.kind=splat"]),
    "bevdet4d": ("bevdet4d_demo", []),
    "bevdepth": ("bevdepth_demo", []),
    "bevformer": ("bevformer_demo", []),
    "bevdet R50": ("bevdet_r50", []),
    "bevdet4d R50": ("bevdet4d_r50", []),
    "bevdepth R50": ("bevdepth_r50", []),
    "bevformer R50": ("bevformer_r50", []),
}
TEACHERS = {"centerpoint, pillars": "centerpoint_demo", "centerpoint, voxels": "centerpoint_voxel_demo"}
NAMES = (*STUDENTS, *TEACHERS)
MISSING = "tensorrt_rtx_bindings is not installed: pip install -r requirements/test.txt (x86_64 only)"
HEADINGS = ("file", "precision")
REASON_LENGTH = 160  # of a refusal's words in the table
CONFIGS = Path("config")


@dataclass(frozen=True)
class BuildableFile:
    """An FP32 file, one frame for it, and the sizes that its inputs of open size may have."""

    path: Path
    example: ExampleInputs
    sizes: Sizes

    def built(self, precisions: Sequence[Precision], generations: Sequence[str]) -> list[BuildReport]:
        """What TensorRT-RTX makes of it in each precision."""
        files = [with_precision(self.path, precision, self.example.by_name) for precision in precisions]
        return build_reports(files, self.sizes, generations)


def student_file(model: CameraStudent, path: Path) -> BuildableFile:
    """A student's network, without metadata, and the profile that the TensorRT engine gives it."""
    write_onnx(model, path)
    profile = rig_profile(model.spec, model.spec.trained_cameras)
    example = example_inputs(model, model.spec.trained_cameras)
    sizes = {name: (profile.smallest[name], profile.largest[name]) for name in example.names if name in profile.largest}
    return BuildableFile(path, example, sizes)


def made_file(name: str, folder: Path, configs: Path = CONFIGS) -> BuildableFile:
    """The file of one of NAMES, with random weights; raises ConfigError for a teacher that has no file."""
    torch.manual_seed(0)
    path = folder / "model.onnx"
    if name in STUDENTS:
        file, overrides = STUDENTS[name]
        config = load_config(configs / "training" / f"{file}.yaml", overrides)
        return student_file(build_student(config.model).eval(), path)
    teacher = build_teacher(load_config(configs / "teacher" / f"{TEACHERS[name]}.yaml").teacher).eval()
    spec = export_teacher(teacher, path, {}, {})
    return BuildableFile(path, teacher_inputs(spec, example_cloud(spec)), {})


def matrix_rows(
    names: Sequence[str], precisions: Sequence[Precision], generations: Sequence[str], show: Callable[[str], None]
) -> list[tuple[str, ...]]:
    """A row for each file and precision: megabytes of the engine for each generation, or why there is none."""
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = made_file(name, Path(folder))
            except ConfigError as error:
                rows.append((name, "no file", str(error), *[""] * (len(generations) - 1)))
                continue
            try:
                reports = file.built(precisions, generations)
            except RuntimeError as error:  # a fault of the native code: the next file has a program of its own
                reports = [BuildReport([str(error)], [], {}, [])] * len(precisions)
            for precision, report in zip(precisions, reports, strict=True):
                rows.append((name, precision.value, *_cells(report, generations)))
                show(" | ".join(rows[-1]))
    return rows


def _cells(report: BuildReport, generations: Sequence[str]) -> list[str]:
    words = "; ".join(dict.fromkeys([*report.complaints, *report.errors])).replace("|", "/")
    reason = " ".join(words.split())[:REASON_LENGTH]
    sizes = report.engine_bytes
    return [f"{sizes[name] / 1e6:.1f} MB" if sizes.get(name) else f"refused: {reason}" for name in generations]


def tensorrt(
    *,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("docs/benchmarks/tensorrt.md"),
    only: Annotated[list[str] | None, typer.Option(help=f"One of: {'; '.join(NAMES)}. Repeatable.")] = None,
    precision: Annotated[list[Precision] | None, typer.Option(help="Repeatable; all by default.")] = None,
    generation: Annotated[list[str] | None, typer.Option(help="Compute capability as SM86. Repeatable.")] = None,
) -> None:
    """Parse and build every student and teacher in every precision for generations of NVIDIA GPUs, without a GPU."""
    if find_spec("tensorrt_rtx_bindings") is None:
        raise ConfigError(MISSING)
    unknown = sorted(set(only or ()) - set(NAMES))
    if unknown:
        raise ConfigError(f"there is no file '{unknown[0]}'; choose of: {'; '.join(NAMES)}")
    generations = tuple(generation or GENERATIONS)
    console = Console(markup=False, highlight=False)
    rows = matrix_rows(only or NAMES, precision or list(Precision), generations, console.print)
    headings = (*HEADINGS, *generations)
    console.print(terminal_table("engines built by TensorRT-RTX", headings, rows))
    facts = {"built by": "TensorRT-RTX, which needs no GPU for it; no engine ran", "weights": "random, seed 0"}
    write_report(out, "Files that TensorRT takes", facts, markdown_table(headings, rows))
