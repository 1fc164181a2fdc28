"""Agreement of engines: raw outputs and decoded boxes of each against eager PyTorch, over many frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from kd_bench.dataset_frames import BenchFrame
from kd_bench.progress import Show, silent
from kd_bench.tables import markdown_table
from kd_perception.engines.openvino_bf16 import OpenVinoBfloat16Engine
from kd_perception.parity.tolerances import RAW_TOLERANCE, SCORE_TOLERANCE, have_partner, raw_errors
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.decode import decode
from kd_perception.student.spec import MEMORY_OUTPUT, Student
from kd_training.checkpoints.export import example_memory

SCORE_THRESHOLD = 0.1
MATCHED_SHARE = 0.999
REFERENCE = "torch"
ROUNDING = (OpenVinoBfloat16Engine.name,)  # not compared: it differs by design; kd bench precision says what that costs


@dataclass(frozen=True)
class Parity:
    """One engine against the reference.

    raw_error: largest |difference| / max(1, |reference|) by output name; detections: boxes above SCORE_THRESHOLD in
    either's predictions; matched: how many of them have a partner among the other's within the tolerances.
    """

    engine: str
    frames: int
    raw_error: dict[str, float]
    detections: int
    matched: int

    @property
    def matched_share(self) -> float:
        """Share of detections with a partner; 1 where there are none."""
        return self.matched / self.detections if self.detections else 1.0

    @property
    def passed(self) -> bool:
        """Whether both requirements hold."""
        return max(self.raw_error.values()) <= RAW_TOLERANCE and self.matched_share >= MATCHED_SHARE


def measure_parity(
    student: Student,
    frames: Sequence[BenchFrame],
    engines: Sequence[str],
    threads: int = 0,
    progress: Show = silent,
) -> list[Parity]:
    """Run all frames through PyTorch and every engine; the same prepared inputs go to all of them.

    Raises EngineError if an engine cannot open the student.
    """
    cameras = len(frames[0].cameras)
    options = PipelineOptions(threads=threads, score_threshold=SCORE_THRESHOLD)
    reference = Pipeline(student, REFERENCE, cameras, options)
    others = {name: Pipeline(student, name, cameras, options).engine for name in engines}
    errors: dict[str, dict[str, float]] = {name: {} for name in engines}
    counts = {name: np.zeros(2, np.int64) for name in engines}  # detections, matched
    remembered = np.zeros(student.spec.memory_shape, np.float32)
    for done, frame in enumerate(frames):
        reference.set_rig(frame.cameras)
        record = FrameRecord(images=frame.images)
        reference.prepare(record)
        inputs = record.inputs
        if student.spec.memory is not None:
            inputs |= example_memory(student.spec, remembered)
        expected = {key: value.copy() for key, value in reference.engine.run(inputs).items()}
        for name, engine in others.items():
            outputs = engine.run(inputs)
            for key, error in raw_errors(outputs, expected).items():
                errors[name][key] = max(error, errors[name].get(key, 0.0))
            counts[name] += count_matches(student, outputs, expected)
        remembered = expected.get(MEMORY_OUTPUT, remembered)
        progress(done + 1, len(frames))
    return [Parity(name, len(frames), errors[name], *map(int, counts[name])) for name in engines]


def count_matches(
    student: Student, first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> tuple[int, int]:
    """(detections of both sides above the threshold, those with a partner).

    Partners are looked for down to the score tolerance below the threshold: a box at .1001 may stand at .0999 there.
    """
    spec = student.spec
    sides = [
        decode(
            side["heatmap"],
            side["regression"],
            spec.grid,
            SCORE_THRESHOLD - SCORE_TOLERANCE,
            classes=spec.classes,
            coding=spec.coding,
        )
        for side in (first, second)
    ]
    detections = matched = 0
    for boxes, candidates in (sides, sides[::-1]):
        clear = boxes[boxes.score >= SCORE_THRESHOLD]
        detections += len(clear)
        matched += int(have_partner(clear, candidates).sum())
    return detections, matched


def parity_table(results: Sequence[Parity]) -> Table:
    """The measurement as a table for the terminal."""
    table = Table(title=f"engines against PyTorch, {results[0].frames} frames")
    for heading in ("engine", *(f"{name} error" for name in results[0].raw_error), "detections", "matched", ""):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for row in results:
        verdict = "[green]agrees[/green]" if row.passed else "[red]differs[/red]"
        errors = (f"{error:.1e}" for error in row.raw_error.values())
        table.add_row(row.engine, *errors, str(row.detections), f"{100 * row.matched_share:.2f} %", verdict)
    return table


def parity_markdown(results: Sequence[Parity]) -> str:
    """The same as a Markdown table."""
    names = list(results[0].raw_error)
    headings = ("engine", *(f"{name} error" for name in names), "detections", "matched")
    rows = [
        (row.engine, *(f"{row.raw_error[name]:.1e}" for name in names), str(row.detections),
         f"{100 * row.matched_share:.3f} %")
        for row in results
    ]  # fmt: skip
    return markdown_table(headings, rows)
