"""What a student may lose by a smaller precision, and whether it lost more."""

from dataclasses import dataclass

from kd_perception.evaluation.metric import Metrics


@dataclass(frozen=True)
class Allowed:
    """Points (hundredths) of mAP and of NDS, and of the AP of any one class, below FP32."""

    points: float
    worst_class: float


ALLOWED = {"int8": Allowed(0.3, 1.5), "fp16": Allowed(0.05, 1.5), "bf16": Allowed(0.3, 1.5)}


@dataclass(frozen=True)
class Loss:
    """Points below FP32; negative where it is better. worst: name of the class that lost most."""

    mean_ap: float
    nds: float
    worst: str
    worst_class: float

    def within(self, allowed: Allowed) -> bool:
        """Whether nothing is above what is allowed."""
        return max(self.mean_ap, self.nds) <= allowed.points and self.worst_class <= allowed.worst_class


def loss_of(full: Metrics, other: Metrics) -> Loss:
    """What `other` lost against `full`."""
    lost = {name: 100 * (full.classes[name].ap - other.classes[name].ap) for name in full.classes}
    worst = max(lost, key=lost.__getitem__)
    return Loss(100 * (full.mean_ap - other.mean_ap), 100 * (full.nds - other.nds), worst, lost[worst])
