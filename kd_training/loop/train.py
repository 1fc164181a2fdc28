"""`kd train`: one readable loop with Lightning Fabric (devices, DDP under torchrun, precision).

Several runs that take the same batches may share it: each batch is read once, and every run takes its step with it.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice, tee
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.optim import Optimizer

from kd_perception.interrupts import stop_signals
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, load_state
from kd_training.config.experiment import AnyConfig, TrainConfig
from kd_training.config.sections import ScheduleConfig
from kd_training.data.first_look import check_boxes
from kd_training.data.frame_checks import what_is_masked
from kd_training.loop.before_start import check_start
from kd_training.loop.companions import reader_of
from kd_training.loop.forward_backward import add_gradients, check_gradients
from kd_training.loop.loading import batches_ahead, batches_of_workers, dead_workers_told
from kd_training.loop.malloc import tune_malloc
from kd_training.loop.optimiser import build_optimizer, clip_gradients, rate_factor
from kd_training.loop.progress import RunProgress
from kd_training.loop.state import RunState
from kd_training.tasks import build_task
from kd_training.tasks.plan import plan_run
from kd_training.tasks.task import DeviceBatch, Losses, Task
from kd_training.unlabelled.by_old_student import find_lacking
from kd_training.unlabelled.labelling import label_missing


@dataclass(frozen=True)
class RunStart:
    """What a run begins with: its configuration, its folder, and weights, if any; `resume` goes on in the folder."""

    config: AnyConfig
    out: Path
    weights: Path | None = None
    resume: bool = False


@dataclass(frozen=True)
class TrainingRun:
    """A run that is about to begin, or to go on, at step `first`; `wrapped` is the task as Fabric set it up."""

    out: Path
    fabric: Fabric
    task: Task
    wrapped: nn.Module
    optimizer: Optimizer
    plan: RunPlan
    state: RunState
    first: int

    @property
    def writes(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.fabric.global_rank == 0

    @property
    def schedule(self) -> ScheduleConfig:
        """The configuration's."""
        return self.state.config.schedule


def train(config: AnyConfig, out: Path, weights: Path | None = None, *, resume: bool = False) -> bool:
    """Train into `out` (weights.safetensors, state.pt, TensorBoard events); False if it was interrupted.

    `weights` initialises the model; `resume` continues the run in `out` bit by bit. Raises DataError, ConfigError or
    TrainingError with a sentence, OSError where the disk refuses files; what was saved stays.
    """
    return train_together([RunStart(config, out, weights, resume)], config.data.workers)


def train_together(starts: Sequence[RunStart], workers: int) -> bool:
    """Train several runs as `train` does each, step by step in turns; False if they were interrupted.

    They take the same batches (kd_training.loop.companions), which `workers` processes read. Raises what `train`
    raises, and ConfigError where batches differ.
    """
    tune_malloc()
    reader = reader_of([start.config for start in starts])
    for start in starts:
        check_start(start.config, start.out)
    runs = [open_run(start.config, start.out, start.weights, resume=start.resume) for start in starts]
    for sentence in dict.fromkeys(sentence for run in runs for sentence in _introduction(run)):
        runs[0].fabric.print(sentence)
    for run in runs:
        run.wrapped.train()
    return _train_steps([runs[reader], *runs[:reader], *runs[reader + 1 :]], workers)


def _introduction(run: TrainingRun) -> list[str]:
    """What a run is going to do, and what of its data is unusual."""
    task = run.task
    notes = check_boxes(task.frames, task.grid) if task.learns_boxes else []
    span = f"steps {run.first} to {run.plan.steps} of {run.state.step_samples} samples"
    return [f"training {task.name} on {len(task.frames)} frames, {span}", *notes, *what_is_masked(task.frames)]


def _train_steps(runs: Sequence[TrainingRun], workers: int) -> bool:
    """All steps of the runs, on the first one's batches; False if they were interrupted."""
    leader, schedule = runs[0], runs[0].schedule
    first, steps = min(run.first for run in runs), max(run.plan.steps for run in runs)
    saved = time.monotonic()
    with dead_workers_told(), _signals() as signals, RunProgress(steps, first, shown=leader.writes) as progress:
        batches = load_batches(replace(leader, first=first, plan=leader.plan._replace(steps=steps)), workers)
        for step in range(first, steps):
            active = [run for run in runs if run.first <= step < run.plan.steps]
            taken = islice(batches, leader.plan.micro_batches)
            if not active:
                deque(taken, maxlen=0)  # the step's batches pass by
            for run, share in zip(active, tee(taken, len(active)), strict=True):
                losses, norms = train_step(run, share, step)
                if step % schedule.log_steps == 0:
                    progress.losses = _log(run, losses, norms, step)
            progress.done(step + 1)
            stopped = _any_interrupted(leader.fabric, signals)
            due = stopped or time.monotonic() - saved > 60.0 * schedule.save_minutes
            for run in active:
                _keep(run, step + 1, due=due)
            if due:
                saved = time.monotonic()
            if stopped:
                for run in active:
                    run.fabric.print(f"interrupted at step {step + 1}; continue with --resume {run.out}")
                return False
    return True


def _keep(run: TrainingRun, steps: int, *, due: bool) -> None:
    """Write what is to be kept after so many steps: the state where it is `due`, and at the run's end."""
    if not run.writes:
        return
    if steps in run.schedule.keep_steps:
        run.state.save_average(kept_weights(run.out, steps))
    if due or steps == run.plan.steps:
        run.state.save(steps, run.out)


def open_run(config: AnyConfig, out: Path, weights: Path | None, *, resume: bool) -> TrainingRun:
    """Set up everything that `train` needs, from `weights`, the state in `out`, or the beginning."""
    fabric = make_fabric(config.schedule, out)
    with fabric.rank_zero_first():
        sentences = label_first(config) if isinstance(config, TrainConfig) else []
    for sentence in sentences:
        fabric.print(sentence)
    fabric.seed_everything(config.schedule.seed, verbose=False)
    saved = load_state(out, config) if resume else None
    task = build_task(config)
    if saved is None:
        task.begin(weights)
    plan = plan_run(config, task.frames, fabric.global_rank, fabric.world_size)
    optimizer = build_optimizer(task.model, task.adapters, task.learning_rate_multipliers, config.schedule)
    wrapped, optimizer = fabric.setup(task, optimizer)
    state = RunState(config, task, optimizer, config.schedule.batch * plan.micro_batches * plan.processes)
    first = 0 if saved is None else state.restore(saved)
    if fabric.global_rank == 0:
        state.clear(out)
    return TrainingRun(out, fabric, task, wrapped, optimizer, plan, state, first)


def label_first(config: TrainConfig) -> list[str]:
    """Let a teacher label what nobody labelled, and an old student what labels lack; what they found, in sentences."""
    labelled, found = label_missing(config), find_lacking(config)
    return [*(labelled.sentences() if labelled else ()), *([found] if found else ())]


def load_batches(run: TrainingRun, workers: int) -> Iterator[DeviceBatch]:
    """The micro-batches of the steps still to come, loaded by `workers` processes (0: this one).

    On a GPU those of workers come moved, by a thread of their own.
    """
    micro_batches = run.plan.micro_batches
    indices = range(run.first * micro_batches, run.plan.steps * micro_batches)
    batches = run.task.batches(run.plan)
    if not workers:
        return (batches[index] for index in indices)
    loaded, sentence = batches_of_workers(batches, indices, workers)
    if sentence:
        run.fabric.print(sentence)
    return batches_ahead(loaded, run.fabric.device) if run.fabric.device.type == "cuda" else loaded


def train_step(run: TrainingRun, batches: Iterator[DeviceBatch], step: int) -> tuple[Losses, dict[str, float]]:
    """One step of the optimiser and of the average; the losses, and the gradients' norms before they were clipped."""
    schedule = run.schedule
    for group in run.optimizer.param_groups:
        group["lr"] = group["peak"] * rate_factor(step, run.plan.steps, schedule.warmup_steps)
    losses = add_gradients(run.fabric, run.wrapped, batches, step, run.plan.micro_batches)
    norms = clip_gradients(run.task.model, run.task.adapters, schedule.clip_norm)
    check_gradients(norms, step)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.state.update_average()
    return losses, norms


def kept_weights(out: Path, step: int) -> Path:
    """Where a run keeps the averaged weights after one of schedule.keep_steps."""
    return out / f"{Path(WEIGHTS_FILE).stem}_{step}{Path(WEIGHTS_FILE).suffix}"


def make_fabric(schedule: ScheduleConfig, out: Path) -> Fabric:
    """One process, or as many as torchrun started on one machine or several."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))  # torchrun sets both; on each machine as many
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    logger = TensorBoardLogger(root_dir=out, name="events", version="")
    fabric = Fabric(
        accelerator=accelerator, devices=here, num_nodes=processes // here, strategy="ddp" if processes > 1 else "auto",
        precision=schedule.precision, loggers=logger,
    )  # fmt: skip
    fabric.launch()
    return fabric


def _log(run: TrainingRun, losses: Losses, norms: dict[str, float], step: int) -> str:
    """Write losses and figures to TensorBoard; the losses in words."""
    figures = {**norms, **run.task.figures(), "learning_rate": run.optimizer.param_groups[0]["lr"]}
    run.fabric.log_dict({**_values(losses), **figures}, step)
    return _in_words(losses, figures)


def _values(losses: Losses) -> dict[str, Tensor]:
    return {**losses.task, **{f"distill/{name}": value for name, value in losses.terms.items()}}


def _in_words(losses: Losses, figures: dict[str, float]) -> str:
    """Task losses, and the terms of distillation with their weights."""
    task = [f"{name} {value.item():.2f}" for name, value in losses.task.items()]
    terms = [f"{name} {figures[f'weight/{name}']:.2g} x {value.item():.3g}" for name, value in losses.terms.items()]
    return "  ".join(task + terms)


def _any_interrupted(fabric: Fabric, signals: list[int]) -> bool:
    """Whether any process was interrupted: all of them must leave the loop at the same step."""
    if fabric.world_size == 1:
        return bool(signals)
    return bool(fabric.all_reduce(torch.tensor(float(len(signals)), device=fabric.device), reduce_op="sum") > 0)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that arrived, Ctrl-C or another that ends a command; the loop then saves and leaves."""
    arrived: list[int] = []
    previous = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in stop_signals()}
    try:
        yield arrived
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
