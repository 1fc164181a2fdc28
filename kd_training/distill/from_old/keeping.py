"""All that an update keeps of its old student: the parts with their weights, and the temperatures they go on with."""

from typing import Any

import torch
from torch import Tensor

from kd_perception.student.spec import StudentSpec
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import TrainingProcesses
from kd_training.config.continual import ContinualConfig
from kd_training.distill.from_old.foreground import OldObjects, SharedClasses
from kd_training.distill.from_old.parts import ComparedStudents, KeptBoxes, dark_loss, kept_features, kept_heatmap
from kd_training.distill.from_old.temperature import ElasticTemperature


class Keeping:
    """Compares the outputs of a student with those of the one it was. Raises ConfigError where the new one lacks a
    class."""

    def __init__(self, config: ContinualConfig, old: StudentSpec, new: StudentSpec) -> None:
        self.config, self.names = config, old.classes.names
        self.shared = SharedClasses.of(old.classes, new.classes)
        self.boxes = KeptBoxes(old.classes, old.coding, new.coding, config.keep.velocity)
        told = config.labelled or new.classes.names
        self.told = torch.tensor([name in told for name in old.classes.names])
        self.temperature = ElasticTemperature(config.temperature, len(old.classes))

    def losses(
        self, new: DetectorOutputs, old: DetectorOutputs, replayed: Tensor, processes: TrainingProcesses
    ) -> dict[str, Tensor]:
        """Weighted scalars in float32, of parts that have a weight: kept/heatmap, kept/boxes, kept/LAYER, dark.

        Shapes of the outputs: see DetectorOutputs; the old ones come without gradient. `replayed` (B,) bool: which rigs
        are of earlier domains.
        """
        heard = self._heard(replayed.to(old.heatmap.device))
        objects = OldObjects(old.heatmap.float(), self.config.keep.foreground, heard)
        with torch.autocast(new.heatmap.device.type, enabled=False):
            students = ComparedStudents(new, old, self.shared, objects, processes)
            return {**self._kept(students), **self._dark(students, replayed)}

    def _heard(self, replayed: Tensor) -> Tensor | None:
        """(B, K) bool: where the old student is heard; None: everywhere."""
        if self.config.keep.where_labelled:
            return None
        return replayed[:, None] | ~self.told[None].to(replayed.device)

    def _kept(self, students: ComparedStudents) -> dict[str, Tensor]:
        keep, kept = self.config.keep, {}
        if keep.weight * keep.heatmap > 0:
            kept["kept/heatmap"] = keep.weight * keep.heatmap * self._heatmap(students)
        if keep.weight * keep.boxes > 0:
            kept["kept/boxes"] = keep.weight * keep.boxes * self.boxes(students)
        if keep.weight * keep.features > 0:
            for layer in keep.layers:
                kept[f"kept/{layer}"] = keep.weight * keep.features * kept_features(students, layer)
        return kept

    def _heatmap(self, students: ComparedStudents) -> Tensor:
        """At temperatures that the batches so far have set; then the drift takes in this one."""
        objects, processes = students.objects, students.processes
        loss = kept_heatmap(students, self.temperature.of(objects.logits, objects.foreground, processes))
        self.temperature.observe(objects.logits, students.logits, objects.foreground, processes)
        return loss

    def _dark(self, students: ComparedStudents, replayed: Tensor) -> dict[str, Tensor]:
        weight = self.config.dark.logits
        return {"dark": weight * dark_loss(students, replayed)} if weight > 0 else {}

    def figures(self) -> dict[str, float]:
        """Temperature and drift of each old class, to be logged."""
        pairs = {"temperature": self.temperature.last, "drift": self.temperature.drift}
        return {
            f"{name}/{kind}": float(value)
            for name, values in pairs.items()
            for kind, value in zip(self.names, values, strict=True)
        }

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return self.temperature.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.temperature.load_state_dict(state)
