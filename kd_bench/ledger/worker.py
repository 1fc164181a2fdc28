"""One run in its own process: trains or continues, then scores.

`python -m kd_bench.ledger.worker FOLDER`: the folder holds the order and receives every result.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kd_bench.ledger.clock import NOTHING, Spent, Watch, read_spent, write_spent
from kd_perception.atomic import write_text
from kd_perception.errors import DataError, KdError

if TYPE_CHECKING:
    from kd_training.loop.train import RunStart

ORDER_FILE = "order.json"
TRAINED_FILE = "trained"  # exists once training has ended, and says where
WATCH_S = 1.0
INTERRUPTED = 75  # exit status (sysexits.h: try again): the state is saved, the same order continues
HELD = 69  # exit status (sysexits.h: unavailable): another worker has the folder


@dataclass(frozen=True)
class ScoredSet:
    """A data set that weights are scored on: root and version of its tables."""

    root: str
    version: str


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    config: YAML, or empty to score `weights` without training; scored: the data sets to score on, by name; before: the
    folder of the run that this one goes on from, if it is one of a chain; readers: processes that read its batches.
    """

    config: str
    weights: str
    scored: dict[str, ScoredSet]
    threads: int
    before: str = ""
    readers: int = 0


@dataclass(frozen=True)
class Origin:
    """Where a run was trained: the machine, and the commit of the code."""

    device: str
    commit: str


def write_order(folder: Path, order: Order) -> None:
    """Put an order into a run's folder."""
    write_text(folder / ORDER_FILE, json.dumps(asdict(order), indent=1))


def read_order(folder: Path) -> Order:
    """The order in a run's folder."""
    given = json.loads((folder / ORDER_FILE).read_text())
    return Order(**{**given, "scored": {name: ScoredSet(**entry) for name, entry in given["scored"].items()}})


def score_file(folder: Path, name: str) -> Path:
    """The file of the score on a data set."""
    return folder / f"score_{name}.json"


def spent_so_far(folder: Path) -> Spent:
    """By a training that goes on from its saved state; nothing by one that begins."""
    from kd_training.checkpoints.checkpoint import STATE_FILE

    return read_spent(folder) if (folder / STATE_FILE).is_file() else NOTHING


def note_training(folder: Path, spent: Spent, *, done: bool) -> None:
    """Write how long a folder's training took so far, and, once it is `done`, where it was trained."""
    from kd_perception.commit import code_commit
    from kd_training.checkpoints.checkpoint import STATE_FILE
    from kd_training.machine import device

    write_spent(folder, spent)
    if done:
        write_text(folder / TRAINED_FILE, json.dumps(asdict(Origin(device(), code_commit()))))
        (folder / STATE_FILE).unlink(missing_ok=True)  # as large as three times the weights, and no longer needed


def origin(folder: Path) -> Origin:
    """Where a folder's weights were trained; this machine for those that are only scored, or were trained before
    workers noted it."""
    from kd_perception.commit import code_commit
    from kd_training.machine import device

    noted = folder / TRAINED_FILE
    known = noted.read_text() if noted.is_file() else ""
    return Origin(**json.loads(known)) if known else Origin(device(), code_commit())


Trainer = Callable[[Order, Path], bool]  # trains into a folder or goes on there; False if it was interrupted


def plain_training(order: Order, folder: Path) -> bool:
    """Trains the order's configuration from its weights."""
    from kd_training.loop.train import train_together

    return train_together([start_of(order, folder)], order.readers)


def start_of(order: Order, folder: Path) -> "RunStart":
    """What an order's training begins with: the state in the folder, if there is one."""
    from kd_training.checkpoints.checkpoint import STATE_FILE
    from kd_training.config.experiment import config_from_yaml
    from kd_training.loop.train import RunStart

    resume = (folder / STATE_FILE).is_file()
    weights = Path(order.weights) if order.weights and not resume else None
    return RunStart(config_from_yaml(order.config, str(folder / ORDER_FILE)), folder, weights, resume)


def work(folder: Path, trainer: Trainer = plain_training) -> bool:
    """Carry out a folder's order; False if training was interrupted. Existing results are kept."""
    import torch

    from kd_training.checkpoints.checkpoint import WEIGHTS_FILE

    order = read_order(folder)
    torch.set_num_threads(order.threads)
    if not order.config:
        score(Path(order.weights), order, folder)
        return True
    if not (folder / TRAINED_FILE).is_file():
        watch, before = Watch(), spent_so_far(folder)
        done = trainer(order, folder)
        note_training(folder, before.plus(watch.seconds(), watch.clock), done=done)
        if not done:
            return False
    score(folder / WEIGHTS_FILE, order, folder)
    return True


def score(weights: Path, order: Order, folder: Path) -> None:
    """Write the accuracy of weights on each data set, unless an earlier call did."""
    from kd_bench.ledger.accuracy import accuracy
    from kd_training.config.sections import DataRoot
    from kd_training.evaluation.validation import metrics_on

    for name, scored in order.scored.items():
        target = score_file(folder, name)
        if not target.is_file():
            source = DataRoot(root=scored.root, version=scored.version)
            write_text(target, json.dumps(accuracy(metrics_on(weights, source, folder / f"answers_{name}"))))


class HeldError(DataError):
    """Another worker is in a run's folder."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other workers out of a folder; raises HeldError if one is in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise HeldError(f"another process works in {folder}") from None
    finally:
        os.close(descriptor)


def end_with_parent() -> None:
    """Stop as on SIGTERM when the process that gave the order ends: two workers must not share a folder."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main(trainer: Trainer = plain_training) -> None:
    """Carry out the order in the folder that the command line names."""
    carry_out(lambda folders: work(folders[0], trainer))


def carry_out(work_in: Callable[[Sequence[Path]], bool]) -> None:
    """Do a worker's work in the folders that the command line names; no other worker gets into them.

    Exit status 0: done; INTERRUPTED; HELD; 1: failed, and the log's last line says why.
    """
    end_with_parent()
    folders = [Path(name) for name in sys.argv[1:]]
    try:
        with ExitStack() as entered:
            for folder in folders:
                entered.enter_context(held(folder))
            sys.exit(0 if work_in(folders) else INTERRUPTED)
    except HeldError:
        sys.exit(HELD)
    except KdError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
