"""Configuration of LiDAR teachers: what of the point clouds they see, their architecture, and the data of their
training."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from kd_perception.student.box_codes import Heading
from kd_training.config.sections import DataRoot, GridConfig


@dataclass
class VirtualPointsConfig:
    """Virtual points of image instances (MVP, arXiv:2111.06881), and what is done to their masks.

    Masks that a renderer made are near-oracle; the noise makes them those of a segmentation network: edges wander by up
    to `edge_pixels`, instances are missed or named wrongly with these probabilities.
    """

    per_instance: int = 0  # points per instance and image; 0: no virtual points (CenterPoint)
    least_pixels: int = 0  # instances that cover less of a picture are not seen
    edge_pixels: int = 0
    missed: float = 0.0
    wrong_class: float = 0.0


@dataclass
class PointsConfig:
    """The points of a keyframe. `per_pillar` thins out crowded pillars, at random, and leaves sparse ones whole;
    `most` is the limit of a whole cloud; 0: none."""

    sweeps: int = 10  # the keyframe's and those before it
    z_range: list[float] = field(default_factory=lambda: [-3.0, 5.0])  # metres above base_link
    per_pillar: int = 20
    most: int = 0
    virtual: VirtualPointsConfig = field(default_factory=VirtualPointsConfig)


@dataclass
class VoxelsConfig:
    """Voxels in the place of pillars: columns of them are `pillar_size` wide.

    A sparse 3D encoder of one stage for each of `channels`; between them resolution halves.
    """

    height: float = 0.0  # metres; 0: pillars
    channels: list[int] = field(default_factory=lambda: [16, 32, 64, 128])
    blocks: int = 2  # residual blocks of a stage
    outgoing: int = 128  # channels of the encoder's last map, which has two layers or so
    most: int = 200000  # voxels of a cloud: more stop a training; else the fullest are taken. 0: no limit


@dataclass
class PublishedPillarsConfig:
    """The pillar encoder that published checkpoints have, in the place of ours.

    It knows no range, and measures offsets from the pillar's mean and centre.
    """

    layers: int = 0  # linear layers, each over its pillar's maximum; 0: our encoder
    centred_height: bool = True  # whether offsets from the centre include z
    rows: int = 0  # a pillar with fewer points is filled up with zeros, which take part in the maximum; 0: never


@dataclass
class TeacherModelConfig:
    """A CenterPoint: everything that fixes the shapes of the weights, and the points it was trained with.

    On pillars every block halves the resolution; the last but one has the grid's cells, the last has cells twice as
    large: pillar_size * 2 ** (blocks - 1) = grid.cell_size. On voxels the encoder comes down to the grid's cells, and
    two blocks follow: pillar_size * 2 ** (stages - 1) = grid.cell_size.
    """

    name: str = MISSING
    pillar_size: float = 0.2
    voxels: VoxelsConfig = field(default_factory=VoxelsConfig)
    pillar_channels: int = 64
    published_pillars: PublishedPillarsConfig = field(default_factory=PublishedPillarsConfig)
    block_channels: list[int] = field(default_factory=lambda: [64, 128, 256])
    block_layers: list[int] = field(default_factory=lambda: [4, 6, 6])  # 3x3 convolutions, the strided one included
    neck_channels: int = 128  # per block; "pre_head" has them all
    head_shared: int = 64
    head_hidden: int = 32
    head_codes: int = 0  # hidden channels for box codes; 0: head_hidden
    network_turns: int = 0  # quarter turns, counter-clockwise, of what the network sees: a checkpoint of other axes
    network_height: float = 0.0  # metres above base_link where the network's heights begin
    classes: dict[str, Any] = field(default_factory=dict)  # as a student's
    heading: Heading = Heading.axis  # as a student's
    grid: GridConfig = field(default_factory=GridConfig)
    points: PointsConfig = field(default_factory=PointsConfig)


@dataclass
class LidarAugmentConfig:
    """Random changes of a sample's points and boxes; zeros switch them off."""

    mirror: bool = True  # left-right
    mirror_front: bool = True  # front-back
    bev_rotation: float = 0.785  # radians, either way
    scale: float = 0.05  # relative, either way


@dataclass
class PasteConfig:
    """Ground-truth paste (SECOND's database sampling): objects of other frames fill each class up to a count.

    `counts` by class name; none of them: no paste. It ends at `until`, a share of the run's steps, so that
    the last of them see clouds as they were recorded.
    """

    counts: dict[str, int] = field(default_factory=dict)
    least_points: int = 5  # objects with fewer are not kept
    per_class: int = 1000  # how many objects of a class are kept
    file: str = ""  # .npz where they stay between runs; empty: every run cuts them, about 0.05 s a keyframe
    until: float = 0.8


@dataclass
class LidarDataConfig:
    """What a teacher is trained and evaluated on."""

    root: str = ""  # of data sets that name none
    roots: list[DataRoot] = MISSING
    validation: list[DataRoot] = field(default_factory=list)
    balance_classes: bool = True
    anchor: str = ""  # as DataConfig's
    workers: int = 0
    cache_bytes: int = 2_000_000_000  # of memory, per process, for clouds
    augment: LidarAugmentConfig = field(default_factory=LidarAugmentConfig)
    paste: PasteConfig = field(default_factory=PasteConfig)
