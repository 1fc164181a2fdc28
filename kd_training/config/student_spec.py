"""What a model configuration means for the student file: the only place where YAML keys become a StudentSpec.

The YAML keys stay flat, because they are hashed into ledgers; StudentSpec.check judges the values.
"""

from collections.abc import Mapping
from typing import Any

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import NUSCENES, ClassList, class_list
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.camera_params import CAMERA_PARAMS
from kd_perception.student.spec import ATTENTION, DepthBins, MemorySpec, StudentSpec, ViewSpec
from kd_training.config.sections import GridConfig, ModelConfig, ViewConfig


def student_spec(config: ModelConfig, mean: tuple[float, ...], std: tuple[float, ...]) -> StudentSpec:
    """The student file's specification; `mean` and `std` are the backbone's. Raises StudentError for unfit values."""
    spec = StudentSpec(
        name=config.name,
        grid=bev_grid(config.grid),
        image_size=(config.image_height, config.image_width),
        view=view_spec(config.view),
        trained_cameras=config.cameras,
        mean=mean,
        std=std,
        temporal_frames=min(config.temporal.frames, 2) if config.view.kind == ATTENTION else config.temporal.frames,
        memory=memory_spec(config),
        camera_params=CAMERA_PARAMS if config.camera_aware else 0,
        classes=configured_classes(config.classes, f"model {config.name}"),
        heading=config.heading,
    )
    spec.check(f"model {config.name}")
    return spec


def configured_classes(given: Mapping[str, Any], where: str) -> ClassList:
    """The class list of a student or a teacher; raises ConfigError naming `where`."""
    return class_list(given, where) if given else NUSCENES


def bev_grid(config: GridConfig) -> BevGrid:
    """The grid of a student or a teacher; raises ConfigError if its extent is not a whole number of cells."""
    try:
        return BevGrid.square(config.extent, config.cell_size)
    except ValueError as error:
        raise ConfigError(f"{error}; change grid.extent or grid.cell_size") from error


def view_spec(config: ViewConfig) -> ViewSpec:
    """The view transform, with its depth bins."""
    return ViewSpec(
        kind=config.kind,
        stride=config.stride,
        depth=DepthBins(config.depth_start, config.depth_step, config.depth_bins, config.depth_focal),
        heights=tuple(config.heights),
        z_range=tuple(config.z_range),
    )


def memory_spec(config: ModelConfig) -> MemorySpec | None:
    """The temporal memory; None for a student of single frames."""
    temporal = config.temporal
    if temporal.frames == 1:
        return None
    ages = (temporal.interval, temporal.shortest, temporal.longest)
    if config.view.kind == ATTENTION:
        return MemorySpec(config.context_channels, *ages, stride=config.attention.query_stride)
    return MemorySpec(config.bev_channels, *ages)
