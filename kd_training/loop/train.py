"""`kd train`: one readable loop with Lightning Fabric (devices, DDP under torchrun, precision)."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, load_state, save_weights
from kd_training.config.experiment import AnyConfig
from kd_training.config.sections import ScheduleConfig
from kd_training.loop.gradients import add_gradients, check_gradients
from kd_training.loop.optimiser import build_optimizer, clip_gradients, rate_factor, tune_malloc
from kd_training.loop.progress import RunProgress
from kd_training.loop.state import RunState
from kd_training.tasks import build_task
from kd_training.tasks.plan import plan_run
from kd_training.tasks.task import Losses, Trainee


def train(config: AnyConfig, out: Path, weights: Path | None = None, resume: bool = False) -> bool:
    """Train into `out` (weights.safetensors, state.pt, TensorBoard events); False if it was interrupted.

    `weights` initialises the model; `resume` continues the run in `out` bit by bit. Raises DataError, ConfigError or
    TrainingError with a sentence; what was saved stays.
    """
    schedule = config.schedule
    tune_malloc()
    fabric = make_fabric(schedule, out)
    fabric.seed_everything(schedule.seed, verbose=False)
    saved_state = load_state(out, config) if resume else None
    task = build_task(config)
    if saved_state is None:
        task.begin(weights)
    plan = plan_run(schedule, task.frames, config.data.balance_classes, fabric.global_rank, fabric.world_size)
    wrapped, optimizer = fabric.setup(Trainee(task), build_optimizer(task.model, task.helper, task.rates, schedule))
    state = RunState(config, task, optimizer)
    first = state.restore(saved_state) if saved_state is not None else 0
    if fabric.global_rank == 0:
        state.clear(out)
    passes = range(first * plan.passes, plan.steps * plan.passes)
    batches = iter(DataLoader(task.batches(plan), None, sampler=passes, num_workers=config.data.workers))
    fabric.print(
        f"training {task.name} on {len(task.frames)} frames, steps {first} to {plan.steps} of "
        f"{schedule.batch * plan.passes * plan.processes} samples"
    )

    def save(step: int) -> None:
        if fabric.global_rank == 0:
            state.save(step, out)

    wrapped.train()
    saved = time.monotonic()
    with _interruption() as interrupted, RunProgress(fabric.global_rank == 0, plan.steps, first) as progress:
        for step in range(first, plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate_factor(step, plan.steps, schedule.warmup_steps)
            losses = add_gradients(fabric, wrapped, task, batches, plan.passes, step)
            norms = clip_gradients(task.model, task.helper, schedule.clip_norm)
            check_gradients(norms, step)
            optimizer.step()
            optimizer.zero_grad()
            state.ema.update(task.model, step)
            if step % schedule.log_steps == 0:
                figures = {**norms, **task.figures(), "learning_rate": optimizer.param_groups[0]["lr"]}
                fabric.log_dict({**_values(losses), **figures}, step)
                progress.losses = _in_words(losses, figures)
            progress.done(step + 1)
            if step + 1 in schedule.keep_steps and fabric.global_rank == 0:
                save_weights(state.ema.weights(task.model), config, kept_weights(out, step + 1))
            if _any_interrupted(fabric, interrupted):
                save(step + 1)
                fabric.print(f"interrupted at step {step + 1}; continue with --resume {out}")
                return False
            if time.monotonic() - saved > 60.0 * schedule.save_minutes:
                save(step + 1)
                saved = time.monotonic()
        save(plan.steps)
    return True


def kept_weights(out: Path, step: int) -> Path:
    """Where a run keeps the averaged weights after one of schedule.keep_steps."""
    return out / f"{Path(WEIGHTS_FILE).stem}_{step}{Path(WEIGHTS_FILE).suffix}"


def make_fabric(schedule: ScheduleConfig, out: Path) -> Fabric:
    """One process, or as many as torchrun started."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    logger = TensorBoardLogger(root_dir=out, name="events", version="")
    fabric = Fabric(
        accelerator=accelerator, devices=processes, strategy="ddp" if processes > 1 else "auto",
        precision=schedule.precision, loggers=logger,
    )  # fmt: skip
    fabric.launch()
    return fabric


def _values(losses: Losses) -> dict[str, Tensor]:
    return {**losses.task, **{f"distill/{name}": value for name, value in losses.terms.items()}}


def _in_words(losses: Losses, figures: dict[str, float]) -> str:
    """Task losses, and the terms of distillation with their weights."""
    task = [f"{name} {value.item():.2f}" for name, value in losses.task.items()]
    terms = [f"{name} {figures[f'weight/{name}']:.2g} x {value.item():.3g}" for name, value in losses.terms.items()]
    return "  ".join(task + terms)


def _any_interrupted(fabric: Fabric, flag: list[bool]) -> bool:
    """Whether any process was interrupted: all of them must leave the loop at the same step."""
    if fabric.world_size == 1:
        return flag[0]
    return bool(fabric.all_reduce(torch.tensor(float(flag[0]), device=fabric.device), reduce_op="sum") > 0)


@contextmanager
def _interruption() -> Iterator[list[bool]]:
    """A flag that Ctrl-C or SIGTERM sets; the loop then saves and leaves."""
    flag = [False]
    previous = {
        number: signal.signal(number, lambda *_: flag.__setitem__(0, True))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
