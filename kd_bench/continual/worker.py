"""One run of `kd bench continual` in its own process: the first student, an update, or a joint training; then scores.

`python -m kd_bench.continual.worker FOLDER`, as kd_bench.ledger.worker. The buffer that an update replays from is a
copy of the one that the run before left, so that every run of a chain can be repeated.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kd_bench.continual.run import BUFFER_FOLDER
from kd_bench.ledger.worker import ORDER_FILE, Order, main, plain_training

if TYPE_CHECKING:
    from kd_training.config.experiment import TrainConfig


def domain_training(order: Order, folder: Path) -> bool:
    """Trains from the start, or updates the student of the run before and its buffer; False if it was interrupted."""
    from kd_training.checkpoints.checkpoint import WEIGHTS_FILE
    from kd_training.config.experiment import config_from_yaml, student_config

    config = student_config(config_from_yaml(order.config, str(folder / ORDER_FILE)), ORDER_FILE)
    if config.continual.replay.folder:
        bring_buffer(Path(order.before), config)
    if not plain_training(order, folder):
        return False
    if config.continual.replay.folder:
        remember(config, folder / WEIGHTS_FILE, config)
    return True


def bring_buffer(before: Path, config: "TrainConfig") -> None:
    """A copy of the buffer that the run before left; where that kept none, a new one of what it learnt."""
    from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config
    from kd_training.continual.storage import copy_buffer

    buffer = Path(config.continual.replay.folder)
    if buffer.exists():
        return
    half = buffer.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    if (before / BUFFER_FOLDER).is_dir():
        copy_buffer(before / BUFFER_FOLDER, half)
    else:
        unfilled = replace(config.continual.replay, folder=str(half))
        into = replace(config, continual=replace(config.continual, replay=unfilled))
        remember(checkpoint_config(before / WEIGHTS_FILE), before / WEIGHTS_FILE, into)
    half.rename(buffer)


def remember(learnt: "TrainConfig", weights: Path, config: "TrainConfig") -> None:
    """Offer a domain that a student has learnt to the buffer of a configuration, unless an earlier try did.

    Where all is drawn evenly nobody asks how unsure the student is.
    """
    from kd_training.checkpoints.models import load_model
    from kd_training.continual.buffer import add_domain
    from kd_training.continual.update import new_domain
    from kd_training.data.replay_buffer import is_buffer, read_buffer
    from kd_training.evaluation.uncertainty import uncertainties

    buffer, settings = Path(config.continual.replay.folder), config.continual.buffer
    offered = new_domain(learnt)
    if is_buffer(buffer) and offered.name in {domain.name for domain in read_buffer(buffer).state.domains}:
        return
    if settings.reservoir < 1.0:
        offered = replace(offered, uncertainty=uncertainties(load_model(weights), offered.frames))
    add_domain(buffer, offered, settings)


if __name__ == "__main__":
    main(domain_training)
