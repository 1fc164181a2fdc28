"""What a student costs against its work: cameras, image size, grid, threads, and rigs at once.

Every case is the same architecture with random weights, on the geometry of an ideal ring of cameras; all cases run in
turns. Cost is processor time, which other processes disturb little: 1 of it a unit of work is linear, more is dearer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from kd_bench.cut_student import split_student
from kd_bench.latency.peers import timed
from kd_bench.progress import Show, silent
from kd_bench.untrained import untrained_student
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.student.spec import Student
from kd_training.checkpoints.export import example_inputs
from kd_training.checkpoints.models import load_model
from kd_training.config.experiment import TrainConfig, load_student_config

CAMERA_COUNTS = (1, 2, 3, 6, 9, 12)
IMAGE_SIZES = ((128, 352), (192, 512), (256, 704))
GRIDS = ((25.6, 0.8), (51.2, 0.8), (51.2, 0.4))  # extent and cell, metres
RIGS = (1, 2, 3, 4)  # whose images go through the image network at once
THREADS = (1, 2)
BASE_CAMERAS = 6
HEADINGS = ("what varies", "case", "best ms", "processor s", "work", "cost", "cost / work")
WARM_UP = 2


@dataclass(frozen=True)
class Case:
    """One point of a series. varies: the series; work: relative to the series' first case, what would be linear."""

    varies: str
    name: str
    work: float
    run: Callable[[], object]


@dataclass(frozen=True)
class CaseTimes:
    """The best time of a case, the median of its processor seconds; cost: these relative to the series' first case."""

    case: Case
    ms: float
    cpu_s: float
    cost: float


def make_cases(config: Path, engine: str, scratch: Path, threads: int) -> list[Case]:
    """All series; each file is exported once. Raises EngineError if the engine refuses one."""
    base = _student(load_student_config(config), scratch)
    cases = []
    for count in CAMERA_COUNTS:
        cases.append(Case("cameras", str(count), count / CAMERA_COUNTS[0], _whole(base, engine, count, threads)))
    for height, width in IMAGE_SIZES:
        wanted = [f"model.image_height={height}", f"model.image_width={width}"]
        student = _student(load_student_config(config, wanted), scratch)
        work = height * width / (IMAGE_SIZES[0][0] * IMAGE_SIZES[0][1])
        cases.append(Case("image", f"{height} x {width}", work, _whole(student, engine, BASE_CAMERAS, threads)))
    for extent, cell in GRIDS:
        wanted = [f"model.grid.extent={extent}", f"model.grid.cell_size={cell}"]
        student = _student(load_student_config(config, wanted), scratch)
        side = round(2 * extent / cell)
        work = (side * GRIDS[0][1] / (2 * GRIDS[0][0])) ** 2
        cases.append(Case("grid", f"{side} x {side} cells", work, _whole(student, engine, BASE_CAMERAS, threads)))
    for count in THREADS:
        cases.append(Case("threads", str(count), 1.0, _whole(base, engine, BASE_CAMERAS, count)))
    for rigs in RIGS:
        run = _image_network(base, engine, rigs * BASE_CAMERAS, threads, scratch)
        cases.append(Case("rigs in the image network", str(rigs), float(rigs), run))
    return cases


def time_cases(cases: Sequence[Case], rounds: int, progress: Show = silent) -> list[CaseTimes]:
    """Every case once a round, in turns."""
    for case in cases:
        for _ in range(WARM_UP):
            case.run()
    taken: list[list[tuple[float, float]]] = [[] for _ in cases]
    for index in range(rounds):
        for case, times in zip(cases, taken, strict=True):
            times.append(timed(case.run))
        progress(index + 1, rounds)
    found, first = [], {}
    for case, times in zip(cases, taken, strict=True):
        ms, cpu_s = min(ms for ms, _ in times), float(np.median([spent for _, spent in times]))
        first.setdefault(case.varies, cpu_s)
        found.append(CaseTimes(case, ms, cpu_s, cpu_s / first[case.varies]))
    return found


def scaling_rows(times: Sequence[CaseTimes]) -> list[tuple[str, ...]]:
    """Text as HEADINGS names it."""
    rows, last = [], ""
    for entry in times:
        case = entry.case
        rows.append(
            (
                "" if case.varies == last else case.varies, case.name, f"{entry.ms:.1f}", f"{entry.cpu_s:.3f}",
                f"{case.work:.2f}", f"{entry.cost:.2f}", f"{entry.cost / case.work:.2f}",
            )
        )  # fmt: skip
        last = case.varies
    return rows


def _student(config: TrainConfig, scratch: Path) -> Student:
    model = config.model
    name = f"{model.name}_{model.image_height}x{model.image_width}_{model.grid.extent:g}_{model.grid.cell_size:g}"
    (scratch / name).mkdir(exist_ok=True)
    return untrained_student(config, scratch / name)


def _whole(student: Student, engine: str, cameras: int, threads: int) -> Callable[[], object]:
    inputs = _inputs(student, cameras)
    opened = open_engine(engine, student, cameras, EngineOptions(threads=threads))
    return lambda: opened.run(inputs)


def _image_network(student: Student, engine: str, cameras: int, threads: int, scratch: Path) -> Callable[[], object]:
    folder = scratch / f"{student.spec.name}_of_{cameras}"
    folder.mkdir()
    part = split_student(student, cameras, folder).image_network
    names = {value.name for value in onnx.load(part.path, load_external_data=False).graph.input}
    inputs = {name: value for name, value in _inputs(student, cameras).items() if name in names}
    opened = open_engine(engine, part, cameras, EngineOptions(threads=threads))
    return lambda: opened.run(inputs)


def _inputs(student: Student, cameras: int) -> dict[str, np.ndarray]:
    model = load_model(student.path.with_suffix(".safetensors"))
    return dict(example_inputs(model, cameras).by_name)
