"""A published CenterPoint, on pillars or voxels, as a teacher of ours: its configuration, and the pairs of tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kd_perception.errors import DataError
from kd_perception.geometry.classes import NUSCENES
from kd_perception.student.box_codes import Heading
from kd_training.config.teacher import PointsConfig, PublishedPillarsConfig, TeacherModelConfig, VoxelsConfig
from kd_training.models.teachers.published_pillars import OFFSETS, RAW
from kd_training.models.teachers.voxels import SCALES
from kd_training.published.coverage import Pair
from kd_training.published.files import PublishedFile
from kd_training.published.frameworks import Framework
from kd_training.published.head_table import Axes, BoxConvention, head_pairs
from kd_training.published.parts import (
    WIDE_EPS,
    SparseLayout,
    conv_norm_pairs,
    norm_pairs,
    sparse_layout,
    sparse_pairs,
    turned,
)

Z_RANGE = (-5.0, 3.0)  # metres around the LiDAR, of the published networks for nuScenes
VOXEL, PILLAR, LAYER_HEIGHT = 0.1, 0.2, 0.2  # metres
INTENSITY = 255.0  # published inputs are not divided by it
INPUTS = torch.tensor([1.0, 1.0, 1.0, INTENSITY, 1.0])  # published x, y, z, intensity and age, of intensity 0 to 1
CONVOLUTION, SPARSE, LINEAR = 4, 5, 2  # axes of a layer's weight
LIDAR_TURNS = 1  # nuScenes' LiDAR has x to the right and y ahead


@dataclass(frozen=True)
class Checkpoint:
    """A file, whose names it has, its boxes' conventions, and the LiDAR's height above base_link in metres."""

    file: PublishedFile
    framework: Framework
    boxes: BoxConvention
    lidar_height: float

    def weight(self, name: str, axes: int = CONVOLUTION) -> Tensor:
        """The weight of a layer; raises DataError if there is none, or it has another number of axes."""
        found = self.file.state.get(f"{name}.weight")
        if found is None:
            raise DataError(
                f"{self.file.path} is no such CenterPoint of {self.framework.name}: it lacks {name}.weight; check --as "
                "and whether the file is whole"
            )
        if found.ndim != axes:
            raise DataError(
                f"{self.file.path}: {name}.weight has {found.ndim} axes {tuple(found.shape)}, where {axes} are "
                "expected; save it as its framework has it"
            )
        return found

    def has(self, name: str) -> bool:
        """Whether a layer of that name has weights."""
        return f"{name}.weight" in self.file.state


def teacher_of(checkpoint: Checkpoint, *, voxels: bool) -> TeacherModelConfig:
    """The configuration, with the sizes that the tensors have; raises DataError where they cannot be told."""
    framework, size = checkpoint.framework, VOXEL if voxels else PILLAR
    if checkpoint.file.voxel not in (None, size):
        raise DataError(
            f"{checkpoint.file.path} was trained with voxels of {checkpoint.file.voxel:g} m; those of {size:g} m are "
            "supported, since students share the grid of 0.8 m cells"
        )
    blocks = [_layers(checkpoint, block) for block in range(2 if voxels else 3)]
    neck = checkpoint.weight(f"{framework.neck}.{len(blocks) - 1}.0")  # a transposed convolution in any case
    branch = f"{framework.head.group.format(0)}.{framework.head.branches[-1]}.{framework.head.hidden[0]}"
    hidden = checkpoint.weight(branch).shape[0]
    return TeacherModelConfig(
        name=f"imported_centerpoint_{'voxel' if voxels else 'pillar'}",
        pillar_size=size,
        voxels=_voxels(checkpoint) if voxels else VoxelsConfig(),
        pillar_channels=1 if voxels else checkpoint.weight(f"{framework.block(0, 0)[0]}").shape[1],
        published_pillars=PublishedPillarsConfig() if voxels else _pillars(checkpoint),
        block_channels=[checkpoint.weight(framework.block(place, 0)[0]).shape[0] for place in range(len(blocks))],
        block_layers=blocks,
        neck_channels=neck.shape[1],
        head_shared=checkpoint.weight(framework.head.shared[0]).shape[0],
        head_hidden=hidden,
        head_codes=hidden * (len(framework.head.branches) - 1),
        network_turns=LIDAR_TURNS,
        network_height=checkpoint.lidar_height,
        heading=Heading.vector,
        points=PointsConfig(z_range=[edge + checkpoint.lidar_height for edge in Z_RANGE], per_pillar=0),
    )


def _layers(checkpoint: Checkpoint, block: int) -> int:
    """Convolutions of a block of the backbone."""
    count = 0
    while checkpoint.has(checkpoint.framework.block(block, count)[0]):
        count += 1
    if not count:
        checkpoint.weight(checkpoint.framework.block(block, 0)[0])
    return count


def _voxels(checkpoint: Checkpoint) -> VoxelsConfig:
    framework, blocks = checkpoint.framework, 0
    while checkpoint.has(f"{framework.residual(0, blocks)}.conv1"):
        blocks += 1
    layout, channels = _layout(checkpoint), []
    while checkpoint.has(f"{framework.residual(len(channels), 0)}.conv1"):
        first = layout.ours(checkpoint.weight(f"{framework.residual(len(channels), 0)}.conv1", SPARSE))
        channels.append(first.shape[0])
    outgoing = layout.ours(checkpoint.weight(f"{framework.voxels}.conv_out.0", SPARSE)).shape[0]
    return VoxelsConfig(height=LAYER_HEIGHT, channels=channels, blocks=blocks, outgoing=outgoing)


def _layout(checkpoint: Checkpoint) -> SparseLayout:
    name = f"{checkpoint.framework.voxels}.conv_input.0"
    return sparse_layout(checkpoint.weight(name, SPARSE), len(SCALES), f"{checkpoint.file.path}: {name}.weight")


def _pillars(checkpoint: Checkpoint) -> PublishedPillarsConfig:
    layers, prefix = 0, checkpoint.framework.pillars
    while checkpoint.has(f"{prefix}.{layers}.linear"):
        layers += 1
    inputs = checkpoint.weight(f"{prefix}.0.linear", LINEAR).shape[1]
    whole = RAW + 2 * OFFSETS
    if inputs not in (whole, whole - 1):
        raise DataError(
            f"{checkpoint.file.path}: its pillars have {inputs} inputs; networks of {whole} or {whole - 1} are "
            "supported: x, y, z, intensity, age, offsets from mean and centre"
        )
    rows = checkpoint.framework.rows if layers == 1 else 0
    return PublishedPillarsConfig(layers=layers, centred_height=inputs == whole, rows=rows)


def centerpoint_pairs(checkpoint: Checkpoint, teacher: TeacherModelConfig) -> list[Pair]:
    """The pairs of the whole network."""
    axes = Axes(teacher.network_turns, teacher.network_height)
    encoder = _voxel_pairs(checkpoint, teacher.voxels) if teacher.voxels.height else _pillar_pairs(checkpoint, teacher)
    groups = len(NUSCENES.groups)
    head = head_pairs(checkpoint.file.state, checkpoint.framework.head, groups, checkpoint.boxes, axes)
    return [*encoder, *_backbone_pairs(checkpoint, teacher), *_neck_pairs(checkpoint, teacher), *head]


def _voxel_pairs(checkpoint: Checkpoint, voxels: VoxelsConfig) -> list[Pair]:
    framework, names, layout = checkpoint.framework, checkpoint.file.state, _layout(checkpoint)
    prefix, scales = framework.voxels, INPUTS / torch.tensor(SCALES)

    def pairs(sources: tuple[str, str], target: str, scales: Tensor | None = None) -> list[Pair]:
        return sparse_pairs(sources, f"voxels.{target}", layout, names, scales)

    made = pairs((f"{prefix}.conv_input.0", f"{prefix}.conv_input.1"), "enter", scales)
    for stage in range(len(voxels.channels)):
        if stage:
            made += pairs(framework.down(stage, voxels.blocks), f"down.{stage - 1}")
        for block in range(voxels.blocks):
            source, target = framework.residual(stage, block), f"stages.{stage}.{block}"
            made += pairs((f"{source}.conv1", f"{source}.bn1"), f"{target}.first")
            made += pairs((f"{source}.conv2", f"{source}.bn2"), f"{target}.second")
    return made + pairs((f"{prefix}.conv_out.0", f"{prefix}.conv_out.1"), "leave")


def _pillar_pairs(checkpoint: Checkpoint, teacher: TeacherModelConfig) -> list[Pair]:
    prefix, made = checkpoint.framework.pillars, []
    for layer in range(teacher.published_pillars.layers):
        source, target = f"{prefix}.{layer}", f"pillars.layers.{layer}"
        made.append(
            Pair(f"{target}.0.weight", (f"{source}.linear.weight",), _raw if layer == 0 else lambda value: value)
        )
        made += norm_pairs(f"{source}.norm", f"{target}.1", WIDE_EPS)
    return made


def _raw(weight: Tensor) -> Tensor:
    """Of intensities from 0 to 1 instead of 255."""
    return weight * torch.cat([INPUTS, torch.ones(weight.shape[1] - len(INPUTS))])


def _backbone_pairs(checkpoint: Checkpoint, teacher: TeacherModelConfig) -> list[Pair]:
    made = []
    for block, layers in enumerate(teacher.block_layers):
        for layer in range(layers):
            source, target = checkpoint.framework.block(block, layer), f"backbone.blocks.{block}.{layer}"
            made += conv_norm_pairs(source, target, WIDE_EPS, checkpoint.file.state, 0)
    return made


def _neck_pairs(checkpoint: Checkpoint, teacher: TeacherModelConfig) -> list[Pair]:
    """The neck reads maps that are turned back, so its kernels turn; see models.teachers.network_axes."""
    turn, made, channels = turned(teacher.network_turns), [], teacher.block_channels
    level = len(channels) - 2  # of the grid's resolution: its branch is 1x1 in either form of convolution

    def plain(weight: Tensor) -> Tensor:
        fits = weight.shape[1] == channels[level]  # as (outgoing, incoming); so does a transposed one of as many
        return weight if fits and not (checkpoint.framework.transposed and _square(weight)) else weight.transpose(0, 1)

    for branch in range(len(channels)):
        source, target = f"{checkpoint.framework.neck}.{branch}", f"neck.branches.{branch}"
        made.append(Pair(f"{target}.0.weight", (f"{source}.0.weight",), plain if branch == level else turn))
        made += norm_pairs(f"{source}.1", f"{target}.1", WIDE_EPS)
    return made


def _square(weight: Tensor) -> bool:
    return weight.shape[0] == weight.shape[1]
