"""`kd bench rigs`: one student on rigs it was not trained for, on the same streets.

The rigs have fewer cameras, moved ones, other lenses, or cameras that fire apart. Rendered sets and detections stay in
a folder, so a run that was stopped continues where it was.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from kd_bench.options import EngineChoice, EngineName, ReportFile, StudentFile, Threads
from kd_bench.progress import Show, progress_bars
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.atomic import write_text
from kd_perception.datasets.nuscenes import CAMERA_CHANNELS, load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.evaluation.metric import evaluate_results
from kd_perception.evaluation.predictions import FrameFeed, detect_scenes
from kd_perception.evaluation.result_folder import RESULTS_FILE
from kd_perception.evaluation.results import Results, read_results, write_results
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply, invert

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables
from kd_perception.options.detector import DetectorOptions
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, resource
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import Student, load_student
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate

SCORE_THRESHOLD = 0.02
SPREAD_MS = 50.0
AIM = 0.15  # share of the original's mAP that another rig may cost
# Data sets of the same streets: name -> what differs from the student's own rig.
DATA = {
    "original": {}, "moved": {"rig": "moved"}, "distorted": {"rig": "distorted"}, "fisheye": {"rig": "fisheye"},
    "apart": {"camera_spread_ms": SPREAD_MS},
}  # fmt: skip
FRONT = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT")
HEADINGS = ("rig", "cameras", "ground truth", "mAP", "NDS", "mATE m", "mAOE rad", "of the original's mAP")
METHOD = f"""Same scenes, traffic and seeds throughout; the student is not trained further. *moved*: every camera
shifted by up to 20 cm, turned by up to 2 degrees, its focal length changed by up to 10 %, drawn for every scene; aim:
within {100 * AIM:.0f} % of the original's mAP. *distorted*: plumb_bob lenses. *fisheye*: four equidistant cameras of
190 degrees, as they are and in three crops each (`kd eval --views 3`). *apart*: cameras fire up to {SPREAD_MS:g} ms
apart; with *camera motion* each is placed where odometry says it was at its own exposure. Ground truth
*seen* counts only boxes and detections whose centre lies in the picture of a camera that is used: it says how good the
remaining cameras are, without blame for what they cannot see."""


@dataclass(frozen=True)
class RigCase:
    """One run: a data set by name, and how the student sees it.

    cameras: those that are used (None: all); camera_motion: whether each is placed where it was at its own exposure;
    views: crops of each image.
    """

    name: str
    data: str
    cameras: tuple[str, ...] | None = None
    camera_motion: bool = False
    views: int = 1


@dataclass(frozen=True)
class Score:
    """mAP and NDS in [0, 1], mean translation (m) and orientation (rad) errors of matched boxes."""

    mean_ap: float
    nds: float
    translation: float
    orientation: float


CASES = (
    RigCase("original, 6 cameras", "original"),
    RigCase("original, 5 cameras", "original", tuple(name for name in CAMERA_CHANNELS if name != "CAM_BACK")),
    RigCase("original, 3 cameras", "original", FRONT),
    RigCase("original, 1 camera", "original", ("CAM_FRONT",)),
    RigCase("moved", "moved"),
    RigCase("distorted", "distorted"),
    RigCase("fisheye", "fisheye"),
    RigCase("fisheye, 3 views", "fisheye", views=3),
    RigCase("apart", "apart"),
    RigCase("apart, camera motion", "apart", camera_motion=True),
)


@dataclass(frozen=True)
class RigBench:
    """One student on all rigs: the engine that runs it, and the folder that keeps its detections and scores."""

    student: Student
    engine: EngineChoice
    out: Path

    def folder_of(self, case: RigCase) -> Path:
        """Where a case's results are kept: other weights have another folder."""
        return self.out / "results" / self.student.sha256[:12] / case.name.replace(", ", "_").replace(" ", "_")

    def detections(self, case: RigCase, nusc: "Tables", progress: Show) -> Results:
        """The student's detections on every keyframe, read from the case's folder where an earlier run left them."""
        path = self.folder_of(case) / RESULTS_FILE
        tokens = {token for scene in scene_names(nusc) for token in scene_samples(nusc, scene)}
        if path.is_file() and set(known := read_results(path)) == tokens:
            progress(len(tokens), len(tokens))
            return known
        options = PipelineOptions(threads=self.engine.threads, score_threshold=SCORE_THRESHOLD, views=case.views)
        feed = FrameFeed(camera_motion=case.camera_motion, cameras=case.cameras)
        with RigPipelines(self.student, self.engine.name, options) as pipelines:
            found = detect_scenes(pipelines, nusc, scene_names(nusc), feed, progress)
        write_results(path, found.results)
        return found.results


def rigs(
    *,
    student: StudentFile = None,
    out: Annotated[Path, typer.Option(help="Folder of rendered data and results, kept between runs.")] = Path(
        "out/bench/rigs"
    ),
    data: Annotated[
        list[str] | None, typer.Option(help=f"Only these of {', '.join(DATA)}; repeat for more. Default: all.")
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes of each data set.")] = 12,
    frames: Annotated[int, typer.Option(min=1, help="Keyframes of each scene.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the streets; default: the held-out set's.")] = 900,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 2,
    engine: EngineName = DetectorOptions.engine,
    threads: Threads = 0,
    report: ReportFile = None,
) -> None:
    """Score a student on rigs it was not trained for: fewer or moved cameras, other lenses, cameras that fire apart.

    A run that was stopped continues where it was.
    """
    if unknown := set(data or ()) - set(DATA):
        raise typer.BadParameter(f"data set {sorted(unknown)[0]} is unknown; choose from: {', '.join(DATA)}")
    console = Console()
    opened = load_student(student or resource(SHIPPED_SINGLE_FRAME_STUDENT))
    streets = SynthConfig(out, scenes=scenes, frames=frames, seed=seed, sweeps=0, jobs=jobs)
    roots = _rendered(streets, [name for name in DATA if name in ("original", *(data or DATA))], console)
    rows = _measured_rows(RigBench(opened, EngineChoice(engine, threads), out), roots)
    console.print(terminal_table(f"{opened.spec.name} on other rigs", HEADINGS, rows))
    if report is not None:
        facts = {
            "student": opened.model_id,
            "data": f"{scenes} scenes of {frames} keyframes, seed {seed}, score threshold {SCORE_THRESHOLD}",
        }
        write_report(report, "Other rigs", facts, f"{markdown_table(HEADINGS, rows)}\n\n{METHOD}")


def _rendered(streets: SynthConfig, names: Sequence[str], console: Console) -> dict[str, Path]:
    """The named data sets, rendered where they are missing."""
    roots = {}
    for name in names:
        console.print(f"streets of [bold]{name}[/bold]: rendering what is missing")
        config = replace(streets, out=streets.out / name, **DATA[name])
        generate(config)
        roots[name] = config.out
    return roots


def _measured_rows(bench: RigBench, roots: Mapping[str, Path]) -> list[tuple[str, ...]]:
    """Lines of the table, as HEADINGS names them; the first case is the original rig."""
    rows, original = [], None
    with progress_bars(Console(stderr=True)) as bar:
        for case in (case for case in CASES if case.data in roots):
            nusc = open_nuscenes(roots[case.data], SYNTHETIC_VERSION)
            results = bench.detections(case, nusc, bar(case.name))
            cameras = len(load_frame(nusc, nusc.sample[0]["token"]).images)
            for only_seen in (False, True) if case.data == "original" else (False,):
                score = score_of(case, nusc, results, bench.folder_of(case), only_seen=only_seen)
                original = original or score
                share = "" if only_seen else f"{100 * score.mean_ap / max(original.mean_ap, 1e-9):.0f} %"
                rows.append((*_case_cells(case, cameras, only_seen=only_seen), *_score_cells(score), share))
    return rows


def score_of(case: RigCase, nusc: "Tables", results: Results, folder: Path, *, only_seen: bool) -> Score:
    """The metric of a case, kept in `folder`; `only_seen`: over the boxes that its cameras see."""
    kept = folder / ("score_seen.json" if only_seen else "score.json")
    path = folder / RESULTS_FILE
    if kept.is_file() and kept.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        return Score(**json.loads(kept.read_text()))
    if only_seen:
        rig_of = _rigs(nusc)
        seen = {token: lambda points, token=token: _seen(rig_of[token], case.cameras, points) for token in rig_of}
        results = {
            token: [row for row, is_seen in zip(rows, seen[token](_centers(rows)), strict=True) if is_seen]
            for token, rows in results.items()
        }
        nusc = _with_seen_boxes(nusc, seen)
        path = folder / "results_seen_nusc.json"
        write_results(path, results)
    metrics = evaluate_results(nusc, path)
    score = Score(metrics.mean_ap, metrics.nds, metrics.errors.translation, metrics.errors.orientation)
    write_text(kept, json.dumps(score.__dict__))
    return score


def _case_cells(case: RigCase, cameras: int, *, only_seen: bool) -> tuple[str, ...]:
    name = case.data + (", camera motion" if case.camera_motion else "")
    name += f", {case.views} views each" if case.views > 1 else ""
    return name, str(len(case.cameras) if case.cameras else cameras), "seen" if only_seen else "all"


def _score_cells(score: Score) -> tuple[str, ...]:
    return f"{score.mean_ap:.3f}", f"{score.nds:.3f}", f"{score.translation:.2f}", f"{score.orientation:.2f}"


def _rigs(nusc: "Tables") -> dict[str, tuple[np.ndarray, list[Camera]]]:
    """sample token -> global_from_ego and the cameras."""
    frames = {row["token"]: load_frame(nusc, row["token"]) for row in nusc.sample}
    return {token: (frame.global_from_ego, [image.camera for image in frame.images]) for token, frame in frames.items()}


def _seen(rig: tuple[np.ndarray, list[Camera]], names: Sequence[str] | None, in_global: np.ndarray) -> np.ndarray:
    """Which of the points (N, 3) fall into the picture of one of the named cameras, or of any of them."""
    global_from_ego, cameras = rig
    points = apply(invert(global_from_ego), in_global.reshape(-1, 3))
    return np.any([camera.project(points)[2] for camera in cameras if names is None or camera.name in names], axis=0)


def _with_seen_boxes(nusc: "Tables", seen: dict[str, Callable[[np.ndarray], np.ndarray]]) -> "Tables":
    """The tables with only those annotations of each sample whose centre is seen."""
    return nusc.with_annotations(
        lambda token, numbers: seen[token](_centers([nusc.sample_annotation[int(number)] for number in numbers]))
    )


def _centers(rows: Sequence[dict]) -> np.ndarray:
    return np.array([row["translation"] for row in rows], dtype=np.float64).reshape(-1, 3)
