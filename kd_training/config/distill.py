"""Configuration of distillation: what the student imitates, and how the terms' weights are set.

The defaults are DistillBEV's (arXiv:2309.15109) for BEVDepth4D, with automatic gradient blending. A weight of 0
switches a term off.
"""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from kd_training.config.feature_terms import ChannelGroupsConfig, ObjectWeightsConfig, VolumeAttentionConfig


class AttentionSource(Enum):
    """Whose features decide where imitation counts."""

    both = "both"
    teacher = "teacher"


class BlendingMethod(Enum):
    """How the weights of the task and of the distillation terms are set: see kd_training.distill.blending."""

    agb = "agb"
    fixed = "fixed"
    pcgrad = "pcgrad"
    uncertainty = "uncertainty"
    gradnorm = "gradnorm"
    mgda = "mgda"
    cagrad = "cagrad"


@dataclass
class LayerPair:
    """A student's layer and the teacher's that it imitates, by their names in DetectorOutputs.features."""

    student: str = MISSING
    teacher: str = MISSING


@dataclass
class FeatureConfig:
    """Feature imitation at every layer. Without regions, attention and scale it is a plain squared error."""

    weight: float = 1.0
    regions: bool = (
        True  # boxes, false positives and background have weights of their own; off: every cell is foreground
    )
    attention: bool = True  # cells count by the spatial attention
    scale: bool = True  # small objects count as much as large ones, and each region as a whole
    false_positives: bool = True  # cells where the teacher is sure but wrong; before and in the head only
    attention_from: AttentionSource = AttentionSource.both
    foreground: float = 6e-3  # alpha
    background: float = 4e-2  # beta
    false_positive: float = 10.0  # eta, times alpha
    threshold: float = 0.1  # gamma: heatmap values above it are sure
    temperature: float = 2.0  # tau of the attention, in means of P: the published 0.5 where P has a mean of 1/4


@dataclass
class AttentionConfig:
    """Imitation of the spatial attention at every layer."""

    weight: float = 2.5e-3  # lambda


@dataclass
class PearsonConfig:
    """Imitation of standardised features at every layer (PKD, arXiv:2207.02039)."""

    weight: float = 0.0


@dataclass
class LabelFeatureConfig:
    """A third of a layer's channels imitates features of the true boxes, a third the LiDAR's, a third is free
    (LabelDistill, arXiv:2407.10164; both weights 0.3)."""

    encoder: str = ""  # weights file that `kd train config/labels/...` wrote, for the same teacher
    weight: float = 0.0  # of the label features
    lidar: float = 0.0  # of the LiDAR's
    layers: list[LayerPair] = field(
        default_factory=lambda: [LayerPair("half", "block1"), LayerPair("quarter", "block2")]
    )


@dataclass
class CrossHeadConfig:
    """The student's features, read by the teacher's frozen head, are to give the teacher's answers (CrossKD,
    arXiv:2306.11369)."""

    weight: float = 0.0
    boxes: float = 0.25  # of the box codes' L1 at true centres, next to the heatmap
    velocity: float = 0.2  # code weight within the boxes


@dataclass
class ResponseConfig:
    """Imitation of the teacher's predictions."""

    heatmap: float = 0.0  # weight of the quality focal loss
    boxes: float = 0.0  # weight of the box codes' L1 at true centres
    velocity: float = 0.2  # weight of an error of 1 m/s within the boxes' term
    within_truth: bool = False  # imitate the product of the teacher's and the true heatmap


@dataclass
class RelationConfig:
    """Imitation of how the features at an object's keypoints resemble each other."""

    weight: float = 0.0
    points: int = 3  # keypoints along each side of a box: 3 means 9 in all
    layer: LayerPair = field(default_factory=lambda: LayerPair("pre_head", "pre_head"))


@dataclass
class RayContrastConfig:
    """Contrast between an object's cell and the others on the same camera ray (RayD3D, AAAI 2026)."""

    weight: float = 0.0
    temperature: float = 0.07
    channels: int = 32  # of the projections that are compared
    layer: LayerPair = field(default_factory=lambda: LayerPair("pre_head", "pre_head"))


@dataclass
class BlendingConfig:
    """How the terms' weights are set. The fields behind `method` belong to agb."""

    method: BlendingMethod = BlendingMethod.agb
    kappa: float = 0.5  # share of the angle between the task's gradient and the teacher's that is turned
    theta_max: float = 60.0  # degrees turned at most
    refresh: int = 20  # steps between two looks at the gradients
    ema: float = 0.9  # of the weights, in log space


@dataclass
class DistillConfig:
    """A student's distillation from one frozen teacher."""

    teacher: str = ""  # weights file that `kd train` wrote; empty: no distillation
    teacher_recipe: str = ""  # configuration that trains the teacher first where its weights do not exist
    inherit_head: bool = True  # the task heads start as the teacher's
    cache_bytes: int = 0  # per process, for the teacher's predictions; they repeat where bev_rotation is 0
    layers: list[LayerPair] = field(
        default_factory=lambda: [
            LayerPair("half", "block1"),
            LayerPair("quarter", "block2"),
            LayerPair("pre_head", "pre_head"),
        ]
    )
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    pearson: PearsonConfig = field(default_factory=PearsonConfig)
    channel_groups: ChannelGroupsConfig = field(default_factory=ChannelGroupsConfig)
    volume_attention: VolumeAttentionConfig = field(default_factory=VolumeAttentionConfig)
    object_weights: ObjectWeightsConfig = field(default_factory=ObjectWeightsConfig)
    labels: LabelFeatureConfig = field(default_factory=LabelFeatureConfig)
    cross_head: CrossHeadConfig = field(default_factory=CrossHeadConfig)
    response: ResponseConfig = field(default_factory=ResponseConfig)
    relation: RelationConfig = field(default_factory=RelationConfig)
    ray_contrast: RayContrastConfig = field(default_factory=RayContrastConfig)
    blending: BlendingConfig = field(default_factory=BlendingConfig)
