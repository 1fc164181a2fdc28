"""What a teacher's configuration means for its file and its points: YAML keys become a TeacherSpec here."""

from dataclasses import replace

from kd_perception.geometry.grid import BevGrid
from kd_perception.teacher.spec import PointsSpec, TeacherSpec
from kd_training.config.student_spec import bev_grid, configured_classes
from kd_training.config.teacher import TeacherModelConfig

FILE_POINTS = 100_000  # room of a file whose configuration sets no limit
CROWDED, MOST_CROWDED = 4, 1024  # room in a pillar: this many times the mean of a thinned one, or without thinning


def teacher_spec(config: TeacherModelConfig) -> TeacherSpec:
    """The teacher file's specification, without its origin; raises StudentError for unfit values."""
    points = points_spec(config)
    wanted = CROWDED * config.points.per_pillar or MOST_CROWDED
    crowd = 1 << (wanted - 1).bit_length()  # a power of two, as maxima are found
    spec = TeacherSpec(
        name=config.name,
        grid=bev_grid(config.grid),
        pillar_size=config.pillar_size,
        points=replace(points, most=points.most or FILE_POINTS, crowd=crowd),
        classes=configured_classes(config.classes, f"teacher {config.name}"),
        heading=config.heading,
    )
    spec.check(f"teacher {config.name}")
    return spec


def points_spec(config: TeacherModelConfig) -> PointsSpec:
    """The points of a moment as the teacher is trained with them."""
    points = config.points
    low, high = points.z_range
    return PointsSpec(points.sweeps, (low, high), points.per_pillar, points.most)


def pillar_raster(config: TeacherModelConfig) -> BevGrid:
    """The raster of the pillars."""
    return bev_grid(replace(config.grid, cell_size=config.pillar_size))
