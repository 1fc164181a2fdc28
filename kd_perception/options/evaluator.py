"""Options of the node `evaluator`, which scores the running graph."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kd_perception.geometry.classes import CLASSES_HELP
from kd_perception.options.option import option


@dataclass(frozen=True)
class EvaluatorOptions:
    """Parameters of the evaluator; it reads them on configure."""

    out: Path | None = option("Folder of the results.", default=None, required=True)
    dataroot: Path | None = option(
        "Data set in nuScenes format with the ground truth; without it no metric is computed.", default=None
    )
    version: str = option("Name of the folder of its tables, e.g. v1.0-mini.", default="")
    classes: Path | None = option(CLASSES_HELP, default=None)
    global_frame: str = option("Frame of the data set's poses.", default="map")
    output_messages: tuple[Literal["kd", "vision", "autoware"], ...] = option(
        "Messages of the boxes in the bag of detections; our own are always there.", default=("kd",)
    )
    settle_s: float = option(
        "Longest wait for late detections when the result is requested, in s.",
        default=10.0,
        limits=(0.0, 600.0),
        live=True,
    )
    quiet_s: float = option(
        "Silence after which no more input is expected, in s.", default=0.5, limits=(0.0, 60.0), live=True
    )
