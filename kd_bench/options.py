"""Options that several measurements share: each type, range and help stands here once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kd_perception.options.detector import DetectorOptions

STUDENT_HELP = "Student file, or the name of a shipped one, which is the default."
StudentFile = Annotated[Path | None, typer.Option(help=STUDENT_HELP)]
DatasetFolder = Annotated[Path, typer.Option(help="Data set in nuScenes format.")]
TablesVersion = Annotated[str, typer.Option(help="Name of the data set's tables folder.")]
TeacherWeights = Annotated[Path, typer.Option(help="Weights of a teacher, as kd train writes them.")]
EngineName = Annotated[str, typer.Option(help="auto, openvino, onnxruntime or another installed engine.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads of the engine; 0: the engine chooses.")]
ReportFile = Annotated[Path | None, typer.Option(help="Also write the tables into this Markdown file.")]


@dataclass(frozen=True)
class EngineChoice:
    """The engine to measure with, by name, and its threads (0: the engine chooses)."""

    name: str = DetectorOptions.engine
    threads: int = DetectorOptions.threads
