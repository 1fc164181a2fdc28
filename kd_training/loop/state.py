"""All that a run is at a step: saved so that a resumed run is the same, bit by bit."""

from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from kd_perception.atomic import remove_remains
from kd_training.checkpoints.checkpoint import STATE_ENTRIES, STATE_FILE, WEIGHTS_FILE, save_state, save_weights
from kd_training.config.experiment import AnyConfig, to_yaml
from kd_training.loop.optimiser import Ema
from kd_training.tasks.task import Task


class RunState:
    """Model, moving average, helper, optimiser and what the task remembers. Batches are functions of the step."""

    def __init__(self, config: AnyConfig, task: Task, optimizer: Optimizer) -> None:
        self.config, self.task, self.optimizer = config, task, optimizer
        self.ema = Ema(task.model, config.schedule.ema_decay)

    def restore(self, saved: dict[str, Any]) -> int:
        """Become what `save` wrote; the step to go on with."""
        self.task.model.load_state_dict(saved["model"])
        self.ema.load_state_dict(saved["ema"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.task.helper is not None:
            self.task.helper.load_state_dict(saved["helper"])
        self.task.load_state_dict(saved["task"])
        return saved["step"]

    @staticmethod
    def clear(out: Path) -> None:
        """Delete the parts of files that a killed run left behind in its folder."""
        for name in (WEIGHTS_FILE, STATE_FILE):
            remove_remains(out / name)

    def save(self, step: int, out: Path) -> None:
        """Write the averaged weights, and the state from which step `step` follows."""
        save_weights(self.ema.weights(self.task.model), self.config, out / WEIGHTS_FILE)
        helper = self.task.helper
        entries = (
            step,
            to_yaml(self.config),
            self.task.model.state_dict(),
            self.ema.state_dict(),
            self.optimizer.state_dict(),
            {} if helper is None else helper.state_dict(),
            self.task.state_dict(),
        )
        save_state(dict(zip(STATE_ENTRIES, entries, strict=True)), out / STATE_FILE)
