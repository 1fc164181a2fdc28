"""`kd bench gpu`: for a borrowed machine. Renders scenes, trains a teacher and a student with it, measures and scores;
then the student's file in every precision on every engine that opens there.

It needs no network and keeps to a time. Each stage adds to one result file as soon as it is done, and the same command
goes on where it was cut off.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kd_bench.gpu.engines import EngineTrials, engine_trials
from kd_bench.in_precision import Precision, student_in_precision
from kd_bench.tables import command_line
from kd_bench.training_speed import training_speed
from kd_perception.atomic import write_text
from kd_perception.commit import code_commit
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import ConfigError
from kd_perception.student.spec import load_student
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate
from kd_training.checkpoints.checkpoint import STATE_FILE, WEIGHTS_FILE
from kd_training.checkpoints.export import example_inputs, export_student
from kd_training.checkpoints.models import load_model
from kd_training.config.experiment import AnyConfig, TeacherTrainConfig, load_config
from kd_training.config.sections import DataRoot
from kd_training.evaluation.validation import validation_metrics
from kd_training.loop.train import train
from kd_training.machine import device

RESULT_FILE = "result.json"
RENDERING, TEACHER, STUDENT, ENGINES = 0.3, 0.15, 0.25, 0.2  # of the time; the rest is for scores and start-up
ENGINE_CACHE, FILES = "engines", "files"  # folders
VALIDATION_SEED, GROUP_SEEDS = 900_000, 1_000  # seeds of the validation scenes, and of one group of scenes to the next
WARM, MEASURED = 3, 10  # steps
SAVE_MINUTES = 0.5


@dataclass
class GpuResult:
    """What the result file holds: how it was made, and by stage what it found."""

    command: str
    commit: str
    device: str
    seed: int
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class GpuSession:
    """A folder with a result file, and the time that is left."""

    out: Path
    scenes: SynthConfig  # one group of scenes; `out` and `seed` change from group to group
    minutes: float
    result: GpuResult
    console: Console
    began: float = field(default_factory=time.monotonic)

    def stage(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a stage found, now or before the command was cut off; the result file has it."""
        if name not in self.result.stages:
            began = time.monotonic()
            found = work()
            self.result.stages[name] = {**found, "seconds": round(time.monotonic() - began, 1)}
            write_text(self.out / RESULT_FILE, json.dumps(asdict(self.result), indent=1) + "\n")
        self.console.print(f"[bold]{name}[/bold] {json.dumps(self.result.stages[name])}")
        return self.result.stages[name]

    def seconds(self, share: float) -> float:
        """A share of the command's whole time."""
        return 60.0 * self.minutes * share

    def render(self) -> dict[str, Any]:
        """Validation scenes, then groups of scenes to train on until their share of the time is used."""
        until = time.monotonic() + self.seconds(RENDERING)
        seed = self.result.seed
        self._render("validation", VALIDATION_SEED + seed)
        groups: list[str] = []
        took = 0.0
        while not groups or time.monotonic() + took < until:
            began = time.monotonic()
            groups.append(f"train{len(groups)}")
            self._render(groups[-1], seed + GROUP_SEEDS * len(groups))
            took = time.monotonic() - began
        return {"groups": groups, "scenes": len(groups) * self.scenes.scenes, "frames": self.scenes.frames}

    def _render(self, name: str, seed: int) -> None:
        generate(replace(self.scenes, out=self.out / "data" / name, seed=seed))

    def configured(self, config: AnyConfig, *, workers: int) -> AnyConfig:
        """A configuration on the rendered scenes."""
        groups = self.result.stages["render"]["groups"]
        roots = [DataRoot(root=str(self.out / "data" / name), version=SYNTHETIC_VERSION) for name in groups]
        held_out = DataRoot(root=str(self.out / "data" / "validation"), version=SYNTHETIC_VERSION)
        data = replace(config.data, roots=roots, validation=[held_out], workers=workers)
        schedule = replace(config.schedule, seed=self.result.seed, save_minutes=SAVE_MINUTES)
        if isinstance(config, TeacherTrainConfig):
            return replace(config, data=data, schedule=schedule)
        temporal = replace(config.model.temporal, shortest=0.5)  # keyframes are half a second apart
        distill = replace(config.distill, teacher=str(self.out / "teacher" / WEIGHTS_FILE))
        return replace(
            config, data=data, schedule=schedule, distill=distill, model=replace(config.model, temporal=temporal)
        )

    def trained(self, name: str, config: AnyConfig, seconds: float) -> dict[str, Any]:
        """Measure a configuration's speed, then train as many steps as fit into `seconds`, and score the weights."""
        folder = self.out / name
        speed = self.stage(
            f"{name} speed", lambda: asdict(training_speed(config, folder / "speed", warm=WARM, count=MEASURED))
        )
        steps = max(WARM, int(seconds / speed["step_s"]))
        warmup = min(config.schedule.warmup_steps, steps // 10)
        fitted = replace(config, schedule=replace(config.schedule, steps=steps, epochs=0.0, warmup_steps=warmup))
        return self.stage(name, lambda: _train_and_score(fitted, folder))

    def on_engines(self, trials: EngineTrials) -> dict[str, Any]:
        """The trained student's file in every precision, on every engine that opens here."""
        return self.stage("engines", lambda: _on_engines(self.out, trials))


def _on_engines(out: Path, trials: EngineTrials) -> dict[str, Any]:
    path = out / FILES / "student.onnx"
    path.parent.mkdir(exist_ok=True)
    model = load_model(out / "student" / WEIGHTS_FILE)
    export_student(model, path, {}, {}, {})
    inputs = example_inputs(model, model.spec.trained_cameras).by_name
    students = {precision.value: student_in_precision(load_student(path), precision, inputs) for precision in Precision}
    return engine_trials(students, inputs, trials)


def _train_and_score(config: AnyConfig, folder: Path) -> dict[str, Any]:
    if not train(config, folder, resume=(folder / STATE_FILE).is_file()):
        raise KeyboardInterrupt
    [(_, metrics)] = validation_metrics(folder)
    scores = {"mAP": round(metrics.mean_ap, 4), "NDS": round(metrics.nds, 4)}
    return {"steps": config.schedule.steps, "weights": str(folder / WEIGHTS_FILE), **scores}


def gpu(
    *,
    out: Annotated[Path, typer.Option(help="Folder for scenes, weights and the result file.")] = Path("out/gpu"),
    minutes: Annotated[float, typer.Option(min=0.01, help="Time for everything.")] = 9.0,
    teacher: Annotated[Path, typer.Option(help="The teacher's configuration.")] = Path(
        "config/teacher/centerpoint_demo.yaml"
    ),
    student: Annotated[Path, typer.Option(help="The student's configuration; it gets this teacher.")] = Path(
        "config/training/centerpoint_to_bevdet4d_demo.yaml"
    ),
    batch: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = 16,
    scenes: Annotated[int, typer.Option(min=0, help="Scenes of a group rendered at once; 0: one a core.")] = 0,
    frames: Annotated[int, typer.Option(min=2, help="Keyframes of each scene.")] = 8,
    sweeps: Annotated[int, typer.Option(min=0, max=9, help="LiDAR turns between two keyframes.")] = 4,
    width: Annotated[int, typer.Option(min=64, help="Width of the pictures; the height is 4/11 of it.")] = 704,
    workers: Annotated[int, typer.Option(min=-1, help="Processes that load data; -1: a core each, two spared.")] = -1,
    frames_timed: Annotated[int, typer.Option(min=1, help="Frames of each engine that are timed.")] = 200,
    frames_watched: Annotated[int, typer.Option(min=1, help="Frames of the leak check.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of scenes and training.")] = 0,
) -> None:
    """Render, train a teacher and a student, score, and run its file on all engines, within a time; with a GPU if there
    is one."""
    cores = len(os.sched_getaffinity(0))
    plan = SynthConfig(
        out, scenes=scenes or cores, frames=frames, sweeps=sweeps, width=width, height=width * 4 // 11, jobs=cores
    )
    session = GpuSession(out, plan, minutes, _opened(out, seed), Console())
    session.stage("render", session.render)
    workers = max(0, cores - 2) if workers < 0 else workers
    for name, file, share in (("teacher", teacher, TEACHER), ("student", student, STUDENT)):
        config = load_config(file)
        config.schedule.batch, config.schedule.total_batch = batch, 0
        session.trained(name, session.configured(config, workers=workers), session.seconds(share))
    seconds = session.seconds(ENGINES)
    session.on_engines(EngineTrials(out / ENGINE_CACHE, seconds, frames_timed, frames_watched))
    whole = round(time.monotonic() - session.began, 1)
    session.console.print(f"done in {whole:.0f} s; [bold]{out / RESULT_FILE}[/bold] has the figures")


def _opened(out: Path, seed: int) -> GpuResult:
    """The result so far; raises ConfigError where the folder is of another seed or commit."""
    result = GpuResult(command_line(), code_commit(), device(), seed)
    path = out / RESULT_FILE
    if not path.is_file():
        return result
    before = GpuResult(**json.loads(path.read_text()))
    if (before.seed, before.commit) != (result.seed, result.commit):
        raise ConfigError(
            f"{path} is of seed {before.seed} and commit {before.commit}, not {seed} and {result.commit}; choose "
            "another --out"
        )
    return before
