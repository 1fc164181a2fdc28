"""An update: a student learns a new domain, replays earlier ones, and keeps what it knew (continual learning).

L = L_new + replay.weight L_buffer + keep.weight (heatmap + boxes + features) + dark.logits MSE; the weights of replayed
samples come with them. Terms of a LiDAR teacher are blended as in any distilled run. What ships may lie between the old
weights and the trained ones (`old_blend`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_perception.errors import ConfigError
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import load_weights
from kd_training.config.experiment import TrainConfig
from kd_training.data.batches import Batch
from kd_training.data.frames import TrainingFrame, facts_of
from kd_training.data.label_checks import check_labels, check_large_enough
from kd_training.distill.from_old.keeping import Keeping
from kd_training.tasks.frozen_student import FrozenStudent, old_weights
from kd_training.tasks.old_blend import OldBlend
from kd_training.tasks.student import StudentTask
from kd_training.tasks.task import Losses, MicroStep, Task


class UpdateTask(Task):
    """A student's task, taught by a LiDAR teacher or not, and next to it the old student.

    `learns` is that task: its model is the one that is updated.
    """

    def __init__(self, learns: StudentTask) -> None:
        """Raises ConfigError or DataError where the old student, the classes or the new domain do not fit."""
        super().__init__()
        self.config: TrainConfig = learns.config
        continual = self.config.continual
        check_weights(self.config)
        check_domain(learns.frames, self.config)
        self.learns, self.name, self.learning_rate_multipliers = learns, learns.name, learns.learning_rate_multipliers
        self.frames, self.learns_boxes = learns.frames, learns.learns_boxes
        spec = learns.model.spec
        self.old = FrozenStudent(continual.student)
        self.old.check_takes(spec)
        self.keeping = Keeping(continual, self.old.model.spec, spec)
        check_layers(continual.keep.layers, learns.model.feature_channels)
        old, share, reset = old_weights(continual.student), continual.blend_share, self.config.schedule.anew
        self.blend = OldBlend(share, learns.model, old, reset) if share < 1.0 else None

    @property
    def model(self) -> nn.Module:
        """What ships."""
        return self.learns.model

    @property
    def grid(self) -> BevGrid:
        """The model's."""
        return self.learns.grid

    @property
    def adapters(self) -> nn.Module | None:
        """Those of a LiDAR teacher."""
        return self.learns.adapters

    def begin(self, weights: Path | None) -> None:
        """The whole student begins as the old one, its head included; classes that join begin at random.

        Raises ConfigError for other weights: an update has one beginning.
        """
        if weights is not None:
            raise ConfigError("an update begins from continual.student; leave out --weights")
        path, schedule = old_weights(self.config.continual.student), self.config.schedule
        load_weights(self.model, path, self.model.added_modules, schedule.anew, classes=self.model.spec.classes)

    def batches(self, plan: RunPlan) -> Dataset:
        """As the student's, replayed samples among them."""
        return self.learns.batches(plan)

    def forward(self, batch: Batch, now: MicroStep) -> Losses:
        """Scalar losses of a batch of B rigs and N cameras, shapes as in Batch: those of the student's task, and
        kept/heatmap, kept/boxes, kept/LAYER and dark with a weight."""
        outputs = self.model.train_forward(batch.inputs)
        losses = self.learns.losses_of(outputs, batch, now)
        if self.config.continual.hears_old:
            losses.task.update(self._kept(outputs, batch, now))
        return losses

    def _kept(self, outputs: DetectorOutputs, batch: Batch, now: MicroStep) -> dict[str, Tensor]:
        """The losses against the old student, which answers for all rigs or for the replayed ones alone."""
        replayed = torch.tensor([shown.key in self.learns.replayed for shown in batch.shown])
        if batch.replayed is None:
            return self.keeping.losses(outputs, self.old.outputs(batch.inputs), replayed, now.processes)
        rigs = replayed.nonzero().squeeze(1)
        compared, old = outputs.of_rigs(rigs.to(outputs.heatmap.device)), self.old.outputs(batch.replayed)
        return self.keeping.losses(compared, old, replayed[rigs], now.processes)

    def total(self, losses: Losses, now: MicroStep) -> Tensor:
        """The student's losses with those against the old student; terms of a LiDAR teacher are blended in."""
        return self.learns.total(losses, now)

    def shipped(self, average: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights between the old student's and `average`, by continual.blend_share."""
        return average if self.blend is None else self.blend.blended(average)

    def figures(self) -> dict[str, float]:
        """Those of the student's task, and the temperature and drift of each old class."""
        return {**self.learns.figures(), **self.keeping.figures()}

    def get_extra_state(self) -> dict[str, Any]:
        """Temperatures, which old student it was, and what the student's task needs."""
        keeping = self.keeping.state_dict()
        return {"keeping": keeping, "old": self.old.digest, "learns": self.learns.get_extra_state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Raises ConfigError if the old student is another than before."""
        if state["old"] != self.old.digest:
            raise ConfigError(
                f"continual.student {self.config.continual.student} has other weights than when this update began; "
                "bring them back, or begin a new update in another folder"
            )
        self.keeping.load_state_dict(state["keeping"])
        self.learns.set_extra_state(state["learns"])


def check_domain(frames: Sequence[TrainingFrame], config: TrainConfig) -> None:
    """Raise ConfigError for a new domain too small to learn from, DataError for one whose human labels contradict
    themselves. All keyframes are looked at: the buffer takes in none that do, and says so only behind the training."""
    name = config.continual.domain or "the new one"
    fresh = [place for place, facts in enumerate(facts_of(frames)) if facts.drawn is None]
    check_large_enough([facts_of(frames)[place] for place in fresh], name, config.continual.buffer.least)
    humans = (frame for frame in map(frames.__getitem__, fresh) if frame.labelled or config.continual.labelled)
    check_labels(humans, f"domain '{name}'")


def check_weights(config: TrainConfig) -> None:
    """Raise ConfigError for a weight, a share or a probability of continual that cannot be one."""
    continual = config.continual
    if config.loss.depth_alone:
        raise ConfigError("an update learns boxes; set loss.heatmap and loss.box above 0")
    weights = {
        "dark.logits": continual.dark.logits,
        **{f"keep.{name}": getattr(continual.keep, name) for name in ("weight", "heatmap", "boxes", "features")},
    }
    for key, value in weights.items():
        if not 0.0 <= value < float("inf"):
            raise ConfigError(f"continual.{key} is {value:g}; set it to 0 or to a positive number")
    if not 0.0 < continual.blend_share <= 1.0:
        raise ConfigError(
            f"continual.blend_share is {continual.blend_share:g}; give a share above 0 and up to 1, the trained weights"
        )
    if not 0.0 <= continual.keep.foreground < 1.0 or not 0.0 <= continual.temperature.ema < 1.0:
        raise ConfigError("continual.keep.foreground and continual.temperature.ema are at least 0 and below 1")
    if continual.dark.logits > 0 and not continual.replay.folder:
        raise ConfigError(
            "continual.dark holds logits of replayed samples; name their buffer in continual.replay.folder"
        )


def check_layers(layers: Sequence[str], channels: Mapping[str, int]) -> None:
    """Raise ConfigError for a layer that the student does not have."""
    unknown = next((name for name in layers if name not in channels), "")
    if unknown:
        raise ConfigError(f"continual.keep.layers names '{unknown}'; the student's layers are {', '.join(channels)}")
