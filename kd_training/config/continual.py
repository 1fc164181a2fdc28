"""Section `continual:` of a student's configuration: how it learns a new domain without forgetting earlier ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kd_training.config.old_student import DarkConfig, KeepConfig, OldBoxesConfig, TemperatureConfig


@dataclass
class ReplayConfig:
    """What is replayed of earlier domains while a new one is learnt: see kd_training.continual.buffer."""

    folder: str = ""  # replay buffer; empty: nothing is replayed
    share: float = 0.5  # of the samples that are replayed
    weight: float = 1.0  # of their detection losses, next to the new domain's 1
    importance: bool = True  # drawn by score, with weights that make up for it; else evenly


@dataclass
class BufferConfig:
    """A new buffer's bound, and how it is filled; an existing one keeps its own."""

    keyframes: int = 200  # at most
    reservoir: float = 0.5  # share of them that is drawn evenly from all that was offered; the rest by importance
    neighbour: float = 0.5  # seconds before a keyframe of the moment whose images are kept for memory; 0: none
    sweeps: int = 9  # older sweeps of each LiDAR that are kept with a keyframe, for a teacher
    least: int = 20  # keyframes with boxes that a domain needs: with fewer, nothing is learnt and the buffer stays
    seed: int = 0


@dataclass
class ContinualConfig:
    """How a student learns a new domain: L = L_new + replay.weight L_buffer + keep.weight (heatmap, boxes, features).

    With everything switched off it is fine-tuning. data.roots and data.unlabelled are the new domain.
    """

    student: str = ""  # the old student's file (.onnx), its weights next to it, or the weights alone; empty: no update
    domain: str = ""  # name of the new domain: in the ancestry, and in the buffer
    labelled: list[str] = field(default_factory=list)  # classes that the labels of data.roots have; empty: all
    blend_share: float = 1.0  # how far what ships has gone from the old weights to the trained ones; 1: all the way
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    dark: DarkConfig = field(default_factory=DarkConfig)
    lacking: OldBoxesConfig = field(default_factory=OldBoxesConfig)

    @property
    def hears_old(self) -> bool:
        """Whether a part has a weight, so that the old student must answer."""
        keep = self.keep
        return self.dark.logits > 0 or keep.weight * (keep.heatmap + keep.boxes + keep.features) > 0

    def hears_replayed_alone(self, classes: Sequence[str]) -> bool:
        """Whether the old student answers for no new keyframe: their labels have all `classes` of the student."""
        return self.hears_old and not self.keep.where_labelled and set(classes) <= set(self.labelled or classes)
