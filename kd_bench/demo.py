"""`kd demo`: everything once, end to end: synthetic scenes, bags, the node graph in processes, the metric, a report.

Each bag is replayed twice. In lockstep every keyframe is processed before the next one, which gives the scores. In
real time the run shows latency and dropped frames.
"""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kd_bench.options import EngineName
from kd_bench.progress import progress_bars
from kd_perception.bags.nuscenes_bag import BagOptions, write_scene
from kd_perception.bringup.domains import held_domain
from kd_perception.datasets.nuscenes import CAMERA_CHANNELS, open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.evaluation.graph_run import GraphRun, replay_bag
from kd_perception.evaluation.metric import Metrics
from kd_perception.evaluation.result_folder import DETECTIONS_FOLDER, PAGE_FILE, RunReport
from kd_perception.evaluation.table import metrics_table
from kd_perception.evaluation.write import EvaluatedRun, write_evaluation
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.resources import SHIPPED_INT8_STUDENT, resource
from kd_perception.student.spec import load_student
from kd_synthetic.cli import progress_bar
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate

if TYPE_CHECKING:
    from nuscenes import NuScenes

DEMO_SEED = 2026  # of scenes that the shipped student has not seen
REPLAY_TIMEOUT_S = 600.0


def demo(
    *,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("out/demo"),
    student: Annotated[
        Path | None, typer.Option(help="Student file (.onnx), or a shipped one's name. Default: the shipped int8 file.")
    ] = None,
    engine: EngineName = DetectorOptions.engine,
    scenes: Annotated[int, typer.Option(min=1, help="Synthetic scenes to render.")] = 2,
    frames: Annotated[int, typer.Option(min=1, help="Keyframes of each scene, two a second.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the scenes.")] = DEMO_SEED,
) -> None:
    """Render scenes, replay them through the node graph and score the detections: the whole project in one command."""
    started = time.monotonic()
    console = Console()
    opened = load_student(student or resource(SHIPPED_INT8_STUDENT))
    # 'auto' is settled once, before anything is rendered.
    engine = open_engine(engine, opened, len(CAMERA_CHANNELS), EngineOptions(report=console.print)).name
    dataroot = render_scenes(out / "data", scenes, frames, seed, console)
    nusc = open_nuscenes(dataroot, SYNTHETIC_VERSION)
    names = scene_names(nusc)[:scenes]
    bags = write_bags(nusc, names, out / "bags", console)
    stage = DemoReplay(opened.path, engine, console)
    lockstep = [stage.replay(bag, out / "lockstep" / name, lockstep=True) for name, bag in bags.items()]
    real_time = [stage.replay(bag, out / "real_time" / name, lockstep=False) for name, bag in bags.items()]
    collect_detections(out, names)
    scored, timed = merged(lockstep), merged(real_time)
    with console.status("scoring and drawing"):
        report = timed.report(opened.model_id, engine)
        report = replace(report, lockstep=scored.report(opened.model_id, engine))
        title = "kd demo: a camera student on synthetic scenes, through the node graph"
        about = notes(opened.spec.name, names, frames)
        run = EvaluatedRun(title, names, scored.results, timed.stages, report, about)
        metrics = write_evaluation(out, nusc, run)
    console.print(metrics_table(metrics, f"{opened.spec.name} ({opened.spec.precision}) through the node graph"))
    console.print(summary_table(metrics, report, scored))
    console.print(f"done in {time.monotonic() - started:.0f} s; open [bold]{out / PAGE_FILE}[/bold]")


def render_scenes(folder: Path, scenes: int, frames: int, seed: int, console: Console) -> Path:
    """The demo's data set, in `folder`; scenes that an earlier demo rendered are reused."""
    console.print(f"[bold]1[/bold] rendering {scenes} scene{'s' * (scenes > 1)} of {frames} keyframes into {folder}")
    dataroot = folder / f"seed{seed}_{scenes}x{frames}"  # other arguments make another data set
    jobs = os.cpu_count() or 1
    # Between keyframes nothing looks at the LiDAR: no sweeps.
    config = SynthConfig(dataroot, scenes=scenes, frames=frames, seed=seed, sweeps=0, jobs=jobs)
    with progress_bar(scenes, console) as on_scene:
        generate(config, on_scene)
    return dataroot


def write_bags(nusc: "NuScenes", scenes: Sequence[str], folder: Path, console: Console) -> dict[str, Path]:
    """A bag for each scene, by scene name."""
    console.print(f"[bold]2[/bold] writing {len(scenes)} bag{'s' * (len(scenes) > 1)} into {folder}")
    bags = {}
    with progress_bars(console) as bar:
        for name in scenes:
            bags[name] = folder / name
            write_scene(nusc, name, bags[name], BagOptions(overwrite=True), progress=bar(name))
    return bags


@dataclass(frozen=True)
class DemoReplay:
    """Plays bags through the graph of one student file and engine."""

    student: Path
    engine: str
    console: Console

    def replay(self, bag: Path, out: Path, *, lockstep: bool) -> GraphRun:
        """One bag through the graph; a spinner shows the nodes' last log line."""
        step, how = ("3", "in lockstep") if lockstep else ("4", "in real time")
        starting = f"replaying {bag.name} {how}: starting the nodes"
        with held_domain() as domain, self.console.status(starting) as status:
            run = replay_bag(
                ReplayOptions(bag=bag, lockstep=lockstep),
                DetectorOptions(model=self.student, engine=self.engine),
                out,
                domain_id=domain,
                timeout_s=REPLAY_TIMEOUT_S,
                echo=lambda line: status.update(f"replaying {bag.name} {how}: [dim]{line[-90:]}[/dim]"),
            )
        self.console.print(
            f"[bold]{step}[/bold] replayed {bag.name} {how}: {len(run.stages)} of {run.frames_in} frames processed"
        )
        return run


def collect_detections(out: Path, scenes: Sequence[str]) -> None:
    """Move the detections recorded in lockstep (bags) to detections/<scene>."""
    for name in scenes:
        target = out / DETECTIONS_FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        (out / "lockstep" / name / DETECTIONS_FOLDER).rename(target)


def merged(runs: Sequence[GraphRun]) -> GraphRun:
    """Several scenes' runs as one."""
    results = {token: rows for run in runs for token, rows in run.results.items()}
    return GraphRun(results, [frame for run in runs for frame in run.stages], sum(run.frames_in for run in runs))


def notes(model: str, scenes: Sequence[str], frames: int) -> list[str]:
    """The sentences under the report's title."""
    return [
        f"{len(scenes)} rendered scene{'s' * (len(scenes) > 1)} of {frames} keyframes ({', '.join(scenes)}), "
        f"which {model} was not trained on.",
        "Scores: bags replayed in lockstep, every keyframe processed before the next. "
        "Frames and latency: the same bags in real time.",
    ]


def summary_table(metrics: Metrics, report: RunReport, lockstep: GraphRun) -> Table:
    """The demo's main figures."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("mAP, NDS", f"{metrics.mean_ap:.3f}, {metrics.nds:.3f}")
    table.add_row("lockstep", f"{len(lockstep.stages)} of {lockstep.frames_in} frames processed")
    table.add_row(
        "real time", f"{report.frames_answered} of {report.frames_in} frames processed, {report.frames_dropped} dropped"
    )
    for stage, times in report.latency_ms.items():
        table.add_row(stage, f"{times['p50']:.1f} ms median, {times['p95']:.1f} ms 95 %")
    return table
