"""What an evaluation leaves in its folder: the names of its files, and the fields of its JSON files.

`kd eval`, the evaluator node, `kd demo`, training runs and benchmarks write and read these; nobody else names them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import msgspec

from kd_perception.errors import DataError

RESULTS_FILE = "results_nusc.json"  # detections in nuScenes' result format: see `kd_perception.evaluation.results`
SUMMARY_FILE = "metrics_summary.json"  # the metric, as nuscenes-devkit writes it, and HEADING_ERRORS
HEADING_ERRORS = "label_heading_errors"  # entry of SUMMARY_FILE: evaluation.headings by class
REPORT_FILE = "report.json"  # a RunReport
PAGE_FILE = "report.html"  # scores, pictures and latency for people
STATUS_FILE = "status.jsonl"  # one StatusRow a line
DETECTIONS_FOLDER = "detections"  # a bag of the detections
PICTURES_FOLDER = "pictures"
KITTI_FOLDER = "kitti"  # detections as KITTI's result files, of its data sets
KITTI_SCORES_FILE = "kitti_ap.json"  # KITTI's AP of them
FOXGLOVE_FILE = "foxglove.mcap"  # the samples with boxes, ground truth and sensors, for Foxglove
LOGS_FOLDER = "logs"  # what each process of the node graph logged
METRICS_FOLDER = "metrics"  # of a training run: TRAINED_RESULTS_FILE and SUMMARY_FILE of its first validation set
TRAINED_RESULTS_FILE = "results.json"  # RESULTS_FILE by the name that it has in METRICS_FOLDER

PROCESSED = "answered"  # the outcome of a frame that was detected on, as STATUS_FILE spells it


class ResultRow(TypedDict):
    """One detection in RESULTS_FILE: global frame, metres, size (w, l, h), rotation quaternion (w, x, y, z)."""

    sample_token: str
    translation: list[float]
    size: list[float]
    rotation: list[float]
    velocity: list[float]
    detection_name: str
    detection_score: float
    attribute_name: str


@dataclass(frozen=True)
class RunReport:
    """REPORT_FILE: frames offered, processed and dropped; percentiles of each stage's time; what ran.

    A run in real time may carry the lockstep run that gave the scores.
    """

    frames_in: int
    frames_answered: int
    frames_dropped: int
    latency_ms: dict[str, dict[str, float]]  # stage -> {"p50": ..., "p95": ..., "p99": ...}
    model: str
    engine: str
    commit: str
    lockstep: "RunReport | None" = None

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self, dict_factory=_without_none), indent=2)


@dataclass(frozen=True)
class MetricsSummary:
    """What this project reads of SUMMARY_FILE: mAP, NDS, AP per class, and the means of the true positives' errors."""

    mean_ap: float
    nd_score: float
    mean_dist_aps: dict[str, float]
    tp_errors: dict[str, float]


@dataclass(frozen=True)
class StatusRow:
    """One line of STATUS_FILE: a FrameStatus message; times in milliseconds, the age of a missing camera is None."""

    stamp_ns: int
    outcome: str
    reason: str
    stage_ms: dict[str, float]
    camera_age_ms: dict[str, float | None]
    missing_cameras: list[str]
    memory_state: str
    reset_reason: str
    model: str
    engine: str

    def to_json(self) -> str:
        """The line, without its end."""
        return json.dumps(asdict(self))


def read_summary(path: Path) -> MetricsSummary:
    """Read a SUMMARY_FILE; raises DataError if it is missing or another file."""
    try:
        summary = msgspec.convert(json.loads(path.read_text()), MetricsSummary)  # json reads the devkit's NaN, too
    except FileNotFoundError as error:
        raise DataError(f"metrics summary {path} does not exist; give the {SUMMARY_FILE} of an evaluation") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise DataError(f"{path} is no {SUMMARY_FILE} of the nuScenes metric ({error}); give another file") from error
    if not summary.mean_dist_aps:
        raise DataError(f"{path} has no AP of any class; give the {SUMMARY_FILE} of an evaluation")
    return summary


def read_statuses(path: Path) -> Sequence[StatusRow]:
    """Read a STATUS_FILE; raises DataError if it is missing or damaged."""
    try:
        return [msgspec.json.decode(line, type=StatusRow) for line in path.read_bytes().splitlines()]
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(
            f"{path}, which the evaluator node writes, cannot be read ({error}); look at the node's log next to it"
        ) from error


def _without_none(entries: list[tuple[str, object]]) -> dict[str, object]:
    return {name: value for name, value in entries if value is not None}
