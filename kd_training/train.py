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
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from kd_perception.errors import KdError
from kd_training.checkpoint import STATE_FILE, WEIGHTS_FILE, load_state, load_weights, save_state, save_weights
from kd_training.config import TrainConfig, to_yaml
from kd_training.data.batches import StepBatches, to_device
from kd_training.data.frames import check_intervals, open_frames
from kd_training.losses import student_losses
from kd_training.optimise import Ema, build_optimizer, keep_memory, rate_factor
from kd_training.students import build_student


class TrainingError(KdError):
    """Training cannot go on; the sentence says why."""


def train(config: TrainConfig, out: Path, weights: Path | None = None, resume: bool = False) -> bool:
    """Train a student into `out` (weights.safetensors, state.pt, TensorBoard events); False if it was interrupted.

    `weights` initialises the whole model, or all of a temporal student but its memory; `resume` continues the run in
    `out` bit by bit. Raises DataError, ConfigError or TrainingError with a sentence; what was saved stays.
    """
    schedule = config.schedule
    keep_memory()
    fabric = _fabric(config, out)
    fabric.seed_everything(schedule.seed, verbose=False)
    model = build_student(config.model)
    model.backbone.freeze(schedule.freeze_stages)
    if weights is not None:
        load_weights(model, weights, may_lack=model.memory_modules)
    ema = Ema(model, schedule.ema_decay)
    first, state = 0, load_state(out, config) if resume else None
    if state is not None:
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        first = state["step"]
    wrapped, optimizer = fabric.setup(model.to(memory_format=torch.channels_last), build_optimizer(model, schedule))
    wrapped.mark_forward_method("train_forward")
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
    frames = open_frames(config.data.roots, config.data.camera_motion)
    if model.spec.memory is not None:
        check_intervals(frames, model.spec.memory)
    batches = StepBatches(
        model.spec, frames, config.data.augment, schedule.batch, schedule.seed, config.data.balance_classes,
        config.loss.depth > 0, fabric.global_rank, fabric.world_size,
    )  # fmt: skip
    loader = DataLoader(batches, batch_size=None, sampler=range(first, schedule.steps), num_workers=config.data.workers)
    fabric.print(
        f"training {config.model.name} on {len(frames)} frames, steps {first} to {schedule.steps} of "
        f"{schedule.batch * fabric.world_size} samples"
    )

    def save(step: int) -> None:
        if fabric.global_rank == 0:
            save_weights(ema.weights(model), config, out / WEIGHTS_FILE)
            entries = {
                "step": step,
                "config": to_yaml(config),
                "model": model.state_dict(),
                "ema": ema.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            save_state(entries, out / STATE_FILE)

    wrapped.train()
    saved = time.monotonic()
    with _interruption() as interrupted, _progress(fabric.global_rank == 0) as progress:
        task = progress.add_task("training", total=schedule.steps, completed=first, losses="")
        for step, batch in zip(range(first, schedule.steps), loader, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate_factor(step, schedule)
            batch = to_device(batch, fabric.device)
            outputs = wrapped.train_forward(batch.images, batch.camera_valid, batch.terms, batch.rigs, batch.previous)
            losses = student_losses(outputs, batch, config.loss)
            _check_finite(losses, step)
            fabric.backward(sum(losses.values()))
            norm = fabric.clip_gradients(wrapped, optimizer, max_norm=schedule.clip_norm, error_if_nonfinite=False)
            optimizer.step()
            optimizer.zero_grad()
            ema.update(model, step)
            if step % schedule.log_steps == 0:
                values = {name: value.item() for name, value in losses.items()}
                fabric.log_dict(
                    {**values, "gradient_norm": norm.item(), "learning_rate": optimizer.param_groups[0]["lr"]}, step
                )
                progress.update(task, losses=" ".join(f"{name} {value:.2f}" for name, value in values.items()))
            progress.update(task, completed=step + 1)
            if _any_interrupted(fabric, interrupted):
                save(step + 1)
                fabric.print(f"interrupted at step {step + 1}; continue with --resume {out}")
                return False
            if time.monotonic() - saved > 60.0 * schedule.save_minutes:
                save(step + 1)
                saved = time.monotonic()
        save(schedule.steps)
    return True


def _fabric(config: TrainConfig, out: Path) -> Fabric:
    """One process, or as many as torchrun started."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    logger = TensorBoardLogger(root_dir=out, name="events", version="")
    fabric = Fabric(
        accelerator=accelerator, devices=processes, strategy="ddp" if processes > 1 else "auto",
        precision=config.schedule.precision, loggers=logger,
    )  # fmt: skip
    fabric.launch()
    return fabric


def _check_finite(losses: dict[str, Tensor], step: int) -> None:
    """Raise TrainingError naming the first term that is NaN or infinite."""
    for name, value in losses.items():
        if not torch.isfinite(value):
            raise TrainingError(
                f"the {name} loss is {value.item()} at step {step}; lower schedule.learning_rate or check the data, "
                "then resume from the last save"
            )


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


def _progress(shown: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    return Progress(
        *columns, console=Console(stderr=True), disable=not shown, refresh_per_second=1, speed_estimate_period=300
    )
