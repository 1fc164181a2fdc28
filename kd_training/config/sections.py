"""Sections of training configurations, as typed dataclasses; `config.experiment` composes them and reads YAML."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from kd_perception.student.box_codes import Heading


@dataclass
class GridConfig:
    """Extent of the BEV grid in metres, each side of base_link, and cell size."""

    extent: float = 51.2
    cell_size: float = 0.8


@dataclass
class ViewConfig:
    """View transform: see kd_perception.student.spec.ViewSpec."""

    kind: str = "pull"
    stride: int = 8
    depth_start: float = 1.0
    depth_step: float = 1.0
    depth_bins: int = 72
    depth_focal: float = 0.0  # pixels of the network image; see kd_perception.student.spec.DepthBins
    heights: list[float] = field(default_factory=lambda: [0.25, 0.75, 1.5, 2.5])
    z_range: list[float] = field(default_factory=lambda: [-2.0, 4.0])


@dataclass
class TemporalConfig:
    """Memory: `frames` 1 has none, 2 fuses an earlier frame; its age in seconds: the best, and the range trained.

    Of a recurrent student `frames` is the length of the sequences that it trains on.
    """

    frames: int = 1
    interval: float = 0.5
    shortest: float = 0.1
    longest: float = 1.0


@dataclass
class QueryAttentionConfig:
    """Encoder of the view transform `attention`: layers, heads, and points that a head looks at around each reference
    point, on each of so many levels of the image pyramid. A query is a square of `query_stride` cells on a side.
    """

    layers: int = 2
    heads: int = 4
    points: int = 2
    levels: int = 1
    query_stride: int = 2


@dataclass
class ModelConfig:
    """Architecture: everything that fixes the shapes of the weights."""

    name: str = MISSING
    backbone: str = "efficientnet_lite0"  # kd_training.models.backbones names them all
    backbone_weights: str = ""  # file from which a new run's ResNet or timm backbone starts; empty: see there
    image_height: int = 128
    image_width: int = 352
    cameras: int = 6
    neck_channels: int = 96
    context_channels: int = 64
    camera_aware: bool = False  # BEVDepth's depth network, which takes each camera's parameters
    depth_blocks: int = 3  # residual blocks of that network
    bev_channels: int = 64
    bev_blocks: int = 2
    head_shared: int = 64
    head_hidden: int = 32
    classes: dict[str, Any] = field(default_factory=dict)  # a class list, or the YAML file of one; empty: nuScenes'
    heading: Heading = Heading.axis
    grid: GridConfig = field(default_factory=GridConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    attention: QueryAttentionConfig = field(default_factory=QueryAttentionConfig)
    temporal: TemporalConfig = field(default_factory=TemporalConfig)


@dataclass
class DataRoot:
    """One nuScenes-format data set: folder and version of its tables; `scenes` empty means all.

    An empty `root` is data.root. `split` takes the scenes of an official split (train, val, mini_train, mini_val ...).
    """

    root: str = ""
    version: str = MISSING
    scenes: list[str] = field(default_factory=list)
    split: str = ""


@dataclass
class AugmentConfig:
    """Random changes of a training sample; zeros switch them off."""

    mirror: bool = True  # left-right, images and boxes alike
    bev_rotation: float = 0.39  # radians, either way
    image_scale: float = 0.05  # relative, either way
    image_rotation: float = 0.02  # radians, either way
    colour: float = 0.2  # relative brightness and contrast, either way
    camera_drop: float = 0.1  # probability that a sample loses cameras
    camera_drop_most: int = 1  # how many it loses then: one to this many, never all
    memory_drop: float = 0.15  # probability that a temporal student sees a sample as the first frame


@dataclass
class PseudoConfig:
    """How a teacher labels data.unlabelled, and what its labels count: see kd_training.unlabelled."""

    folder: str = "out/labels"  # the teacher's answers and labels, of one teacher
    thresholds: str = ""  # thresholds.json that kd label wrote for this teacher; empty: calibrated
    calibration: list[DataRoot] = field(default_factory=list)  # labelled scenes for that; empty: data.roots
    precision: float = 0.9  # share of true boxes from the threshold on, at 2 m
    recall: float = 0.95  # share of the boxes that the teacher finds, from where on cells are in doubt
    tracked: int = 3  # keyframes in a row that confirm a box
    share: float = 0.0  # of the samples that are unlabelled; 0: as many as their keyframes are
    weight: float = 1.0  # of their detection losses


@dataclass
class DataConfig:
    """What is trained and evaluated on."""

    root: str = ""  # folder of the entries below that name none
    roots: list[DataRoot] = MISSING
    unlabelled: list[DataRoot] = field(default_factory=list)  # a teacher labels these; their own labels are not read
    pseudo: PseudoConfig = field(default_factory=PseudoConfig)
    validation: list[DataRoot] = field(default_factory=list)
    balance_classes: bool = True
    camera_motion: bool = False  # place each camera where it was at its own exposure (runtime.camera_motion)
    anchor: str = ""  # camera that gives a frame its time; empty: CAM_FRONT, else the one that looks ahead
    workers: int = 0
    cloud_cache_bytes: int = 2_000_000_000  # of memory, per process, for LiDAR: returns per camera and teachers' clouds
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass
class DetectionLossConfig:
    """Weights of the terms that teachers and students share (CenterPoint's)."""

    heatmap: float = 1.0
    box: float = 0.25
    velocity: float = 0.2  # weight of an error of 1 m/s within the box term
    smooth: float = 0.0  # errors of box codes below it count by their square (smooth-L1); 0: all in proportion
    overlap: float = 0.0  # weight of 1 - distance-IoU of the boxes (arXiv:1911.08287); 0 leaves it out


@dataclass
class LossConfig(DetectionLossConfig):
    """Weights of a student's loss terms (BEVDepth's for the depth term); 0 leaves the depth term out."""

    depth: float = 0.5  # cross-entropy of the range bins at LiDAR returns

    @property
    def depth_alone(self) -> bool:
        """Whether depth is all that is learnt: it needs no labels, and no BEV half."""
        return self.depth > 0 and self.heatmap == self.box == self.overlap == 0


@dataclass
class ScheduleConfig:
    """AdamW, linear warm-up, cosine to zero, exponential moving average of the weights.

    The length is `steps`, or `epochs` (kd_training.tasks.plan defines an epoch); one of them is given. A step takes
    `total_batch` samples over all processes, in as many micro-batches of `batch` samples as that needs; 0: one
    micro-batch of every process.
    """

    steps: int = 0
    epochs: float = 0.0
    batch: int = 4
    total_batch: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 20.0
    ema_decay: float = 0.998
    precision: str = "bf16-mixed"
    seed: int = 0
    save_minutes: float = 2.0
    log_steps: int = 20
    keep_steps: list[int] = field(default_factory=list)  # the averaged weights after these steps are kept as well


@dataclass
class StudentScheduleConfig(ScheduleConfig):
    """What only students have: a backbone, or more, that was trained before."""

    backbone_rate: float = 0.2  # of learning_rate
    freeze_stages: int = 2
    anew: list[str] = field(
        default_factory=list
    )  # parts of the model that are re-initialised although weights are given
