"""Several runs that take the same batches, trained in one process; each is scored by a worker of its own afterwards.

`python -m kd_bench.ledger.together FOLDER...`, as kd_bench.ledger.worker.
"""

from collections.abc import Sequence
from pathlib import Path

from kd_bench.ledger.clock import Watch
from kd_bench.ledger.worker import carry_out, note_training, read_order, spent_so_far, start_of


def train_folders(folders: Sequence[Path]) -> bool:
    """Train the orders of the folders; False if they were interrupted. A run's seconds are its share of the time."""
    import torch

    from kd_training.loop.train import train_together

    orders = [read_order(folder) for folder in folders]
    torch.set_num_threads(orders[0].threads)
    watch, before = Watch(), [spent_so_far(folder) for folder in folders]
    done = train_together(
        [start_of(order, folder) for order, folder in zip(orders, folders, strict=True)], orders[0].readers
    )
    share = watch.seconds() / len(folders)
    for folder, spent in zip(folders, before, strict=True):
        note_training(folder, spent.plus(share, watch.clock), done=done)
    return done


if __name__ == "__main__":
    carry_out(train_folders)
