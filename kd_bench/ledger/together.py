"""Several runs that take the same batches, trained in one process; each is scored by a worker of its own afterwards.

`python -m kd_bench.ledger.together FOLDER...`, as kd_bench.ledger.worker.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from kd_bench.ledger.worker import carry_out, note_training, read_order, seconds_so_far, start_of


def train_folders(folders: Sequence[Path]) -> bool:
    """Train the orders of the folders; False if they were interrupted. A run's seconds are its share of the time."""
    import torch

    from kd_training.loop.train import train_together

    orders = [read_order(folder) for folder in folders]
    torch.set_num_threads(orders[0].threads)
    began, before = time.monotonic(), [seconds_so_far(folder) for folder in folders]
    done = train_together(
        [start_of(order, folder) for order, folder in zip(orders, folders, strict=True)], orders[0].readers
    )
    share = (time.monotonic() - began) / len(folders)
    for folder, seconds in zip(folders, before, strict=True):
        note_training(folder, seconds + share, done=done)
    return done


if __name__ == "__main__":
    carry_out(train_folders)
