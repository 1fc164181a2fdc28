"""Configuration of cross-scale distillation: a camera student of high resolution teaches one of low resolution.

A weight of 0 switches a term off. distill.blending weighs these terms together with a LiDAR teacher's, if there is one.
"""

from dataclasses import dataclass, field

from kd_training.config.distill import LayerPair, PearsonConfig, ResponseConfig


@dataclass
class CrossScaleConfig:
    """A student's distillation from one frozen camera student of at least its resolution."""

    teacher: str = ""  # weights that `kd train` wrote, or a student file next to its weights; empty: no such teacher
    teacher_recipe: str = ""  # configuration that trains the teacher first where its weights do not exist
    pyramid: float = 1.0  # of the image features, at matched levels
    depth: float = 1.0  # of the depth bins, at matched pixels
    layers: list[LayerPair] = field(
        default_factory=lambda: [LayerPair(name, name) for name in ("half", "quarter", "pre_head")]
    )
    pearson: PearsonConfig = field(default_factory=lambda: PearsonConfig(weight=1.0))  # of the BEV features of layers
    response: ResponseConfig = field(default_factory=lambda: ResponseConfig(heatmap=1.0))
