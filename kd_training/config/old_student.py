"""What an update keeps of the old student: distillation from it, frozen, and its boxes where nobody labelled.

The defaults are the project's recipe. Switches make the baselines: `foreground: 0` and a constant temperature are
Learning without Forgetting (Li & Hoiem, arXiv:1606.09282), `dark.logits` is DER++ (Buzzega et al., arXiv:2004.07211).
"""

from dataclasses import dataclass, field


@dataclass
class KeepConfig:
    """Distillation from the old student. A weight of 0 switches a part off."""

    weight: float = 1.0  # of all parts together
    heatmap: float = 0.5
    boxes: float = 0.25
    velocity: float = 0.2  # weight of an error of 1 m/s within the boxes
    features: float = 10.0
    layers: list[str] = field(default_factory=lambda: ["pre_head"])  # whose features are compared
    foreground: float = 0.1  # least probability of the old student's foreground; 0: every cell
    where_labelled: bool = False  # also of classes that the new domain's labels, or a teacher's, have


@dataclass
class TemperatureConfig:
    """Temperature of the heatmap's distillation, class by class: see kd_training.distill.from_old.temperature."""

    elastic: bool = True  # off: `start` for every class
    start: float = 2.0  # T0
    entropy: float = 1.0  # a: an unsure old student is heard more softly
    drift: float = 1.0  # b: a class that drifts away is held more firmly
    ema: float = 0.98  # of the drift


@dataclass
class DarkConfig:
    """Logits of replayed samples, held where the old student had them (DER++)."""

    logits: float = 0.0  # weight of their mean squared error; the labels' is replay.weight


@dataclass
class OldBoxesConfig:
    """Boxes of the old student where the new domain's labels lack its classes."""

    boxes: bool = True  # off: those classes are ignored there
    confident: float = 0.4  # score from which a box that a track confirms is truth
    sure: float = 0.6  # score from which any box is truth
    low: float = 0.1  # score from which a cell is in doubt
    tracked: int = 3  # keyframes in a row that confirm a box
    folder: str = "out/labels_of_old"  # the old student's answers and labels
