"""All that a run is at a step: saved so that a resumed run is the same, bit by bit."""

from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from kd_perception.atomic import remove_remains
from kd_perception.errors import ConfigError
from kd_training.checkpoints.checkpoint import STATE_ENTRIES, STATE_FILE, WEIGHTS_FILE, save_state, write_weights
from kd_training.config.experiment import AnyConfig, to_yaml
from kd_training.loop.weight_average import averaged_model, averaged_parameters, set_updates
from kd_training.tasks.task import Task

STEP_SAMPLES = "step_samples"  # entry of the state; states of earlier versions lack it


class RunState:
    """Model, moving average, adapters, optimiser and what the task remembers. Batches are functions of the step."""

    def __init__(self, config: AnyConfig, task: Task, optimizer: Optimizer, step_samples: int) -> None:
        """`step_samples`: how many samples a step takes over all processes."""
        self.config, self.task, self.optimizer, self.step_samples = config, task, optimizer, step_samples
        self.average = averaged_model(task.model, config.schedule.ema_decay)
        self._written_config = to_yaml(config)

    def update_average(self) -> None:
        """Move the average towards the model."""
        self.average.update_parameters(self.task.model)

    def restore(self, saved: dict[str, Any]) -> int:
        """Become what `save` wrote; the step to go on with.

        Raises ConfigError if a step took another number of samples: batches, epochs and the rate would not go on.
        """
        before = saved.get(STEP_SAMPLES, self.step_samples)
        if before != self.step_samples:
            raise ConfigError(
                f"a step of this run took {before} samples, and would now take {self.step_samples}: go on with as many "
                f"processes as before, or start a new run with --weights and schedule.total_batch={before}, which "
                "means the same for any number of processes"
            )
        self.task.model.load_state_dict(saved["model"])
        self.average.module.load_state_dict({**saved["model"], **saved["ema"]})
        set_updates(self.average, saved["step"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.task.adapters is not None:
            self.task.adapters.load_state_dict(saved["helper"])
        self.task.set_extra_state(saved["task"])
        return saved["step"]

    @staticmethod
    def clear(out: Path) -> None:
        """Delete the parts of files that a killed run left behind in its folder."""
        for name in (WEIGHTS_FILE, STATE_FILE):
            remove_remains(out / name)

    def save_average(self, target: Path) -> None:
        """Write the averaged weights, as the task ships them."""
        write_weights(self.task.shipped(self.average.module.state_dict()), self._written_config, target)

    def save(self, step: int, out: Path) -> None:
        """Write what ships, and the state from which step `step` follows."""
        self.save_average(out / WEIGHTS_FILE)
        adapters = self.task.adapters
        entries = (
            step,
            self._written_config,
            self.task.model.state_dict(),
            averaged_parameters(self.average),
            self.optimizer.state_dict(),
            {} if adapters is None else adapters.state_dict(),
            self.task.get_extra_state(),
        )
        state = {**dict(zip(STATE_ENTRIES, entries, strict=True)), STEP_SAMPLES: self.step_samples}
        save_state(state, out / STATE_FILE)
