"""The run of a student that is known already: its weights, under the configuration that updates go on from.

`python -m kd_bench.continual.known_worker FOLDER`, as kd_bench.ledger.worker.
"""

from pathlib import Path

from kd_bench.ledger.worker import ORDER_FILE, Order, main


def take_known(order: Order, folder: Path) -> bool:
    """Put the order's weights into the folder; True. Their configuration names the domain's data from now on."""
    from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, read_weights, save_weights
    from kd_training.config.experiment import config_from_yaml

    tensors, _ = read_weights(Path(order.weights))
    save_weights(tensors, config_from_yaml(order.config, str(folder / ORDER_FILE)), folder / WEIGHTS_FILE)
    return True


if __name__ == "__main__":
    main(take_known)
