"""Which encoder a teacher's configuration describes, and whether its sizes fit the grid."""

from typing import NamedTuple

from torch import nn

from kd_perception.errors import ConfigError
from kd_training.config.teacher import TeacherModelConfig
from kd_training.config.teacher_spec import pillar_raster
from kd_training.models.teachers.pillars import PillarEncoder
from kd_training.models.teachers.published_pillars import PublishedPillarEncoder
from kd_training.models.teachers.voxels import VoxelEncoder, layers_out, voxel_raster


class MadeEncoder(NamedTuple):
    """An encoder, its name among the weights, the channels of its map, the stride of the block behind it, and how many
    heights those channels stack: 0 of a map that has none."""

    name: str
    encoder: nn.Module
    channels: int
    first_stride: int
    heights: int = 0


def make_encoder(config: TeacherModelConfig, classes: int) -> MadeEncoder:
    """The encoder of points, and of virtual points of that many classes where the configuration has them."""
    virtual = classes if config.points.virtual.per_instance else 0
    raster = pillar_raster(config)
    if config.voxels.height:
        voxels = voxel_raster(raster, config)
        encoder = VoxelEncoder(voxels, config, virtual=virtual)
        heights = layers_out(voxels, config)
        return MadeEncoder("voxels", encoder, config.voxels.outgoing * heights, 1, heights)
    if config.published_pillars.layers:
        encoder = PublishedPillarEncoder(raster, config)
    else:
        encoder = PillarEncoder(raster, config.pillar_channels, virtual=virtual)
    return MadeEncoder("pillars", encoder, config.pillar_channels, 2)


def check_sizes(config: TeacherModelConfig) -> None:
    """Raise ConfigError where the sizes do not fit."""
    blocks, voxels = len(config.block_channels), config.voxels
    if not 2 <= blocks <= 3 or len(config.block_layers) != blocks:
        raise ConfigError(
            f"teacher {config.name}: block_channels {list(config.block_channels)} and block_layers "
            f"{list(config.block_layers)} must both have two or three entries"
        )
    if not voxels.height:
        _check_cells(config, "pillars", blocks, "blocks")
        return
    if blocks != 2:
        raise ConfigError(f"teacher {config.name}: two blocks follow voxels, but block_channels has {blocks} entries")
    if not 2 <= len(voxels.channels) <= 5 or voxels.height < 0:
        raise ConfigError(
            f"teacher {config.name}: voxels have a height above 0 and two to five channels, one for each stage; they "
            f"are {voxels.height:g} m and {list(voxels.channels)}"
        )
    _check_cells(config, "voxels", len(voxels.channels), "stages")
    if config.published_pillars.layers:
        raise ConfigError(f"teacher {config.name} has voxels and published_pillars; remove one of them")


def _check_cells(config: TeacherModelConfig, what: str, halvings: int, of: str) -> None:
    """Whether so many levels, the first of them at full resolution, come down to the grid's cells."""
    cell = config.pillar_size * 2 ** (halvings - 1)
    if abs(cell - config.grid.cell_size) > 1e-6:
        raise ConfigError(
            f"teacher {config.name}: {halvings} {of} make cells of {cell:g} m of {config.pillar_size:g} m {what}, but "
            f"grid.cell_size is {config.grid.cell_size:g}; set pillar_size to "
            f"{config.grid.cell_size / 2 ** (halvings - 1):g}"
        )
