"""Checks that a camera teacher and a camera student fit together: resolution, rig, view, depth bins, layers."""

from typing import NamedTuple

from kd_perception.errors import ConfigError
from kd_perception.student.spec import StudentSpec
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.distill.fit import Side, check_pairs
from kd_training.distill.scale.levels import LevelMatch, matched_levels
from kd_training.models.necks import TopDown

SAME_FOCAL = 1e-3  # share by which focal lengths may differ


class CameraSide(NamedTuple):
    """A camera student as cross-scale distillation sees it; has_depth: whether it predicts depth bins."""

    bev: Side
    spec: StudentSpec
    neck: TopDown
    has_depth: bool

    @property
    def pixels(self) -> str:
        """Name and image size, for messages."""
        height, width = self.spec.image_size
        return f"{self.bev.name} ({height}x{width} pixels)"


def ratio_of(student: CameraSide, teacher: CameraSide) -> float:
    """How many times as long and as wide the teacher's image is.

    Raises ConfigError if the two have other shapes, or the teacher fewer pixels.
    """
    (height, width), (high, wide) = student.spec.image_size, teacher.spec.image_size
    if high * width != wide * height:
        raise ConfigError(
            f"{student.pixels} and its camera teacher {teacher.pixels} crop pictures to other shapes, so pixels do not "
            f"match; give both one shape, for instance model.image_width={round(wide * height / high)}"
        )
    if high < height:
        raise ConfigError(
            f"the camera teacher {teacher.pixels} sees fewer pixels than its student {student.pixels}; give a teacher "
            "of at least the student's resolution"
        )
    return high / height


def matches_of(student: CameraSide, teacher: CameraSide) -> list[LevelMatch]:
    """The levels that are compared. In training the student has one level more than its neck uses, if there is one."""
    strides = student.neck.strides
    if student.neck.below_channels:
        strides = (strides[0] // 2, *strides)
    return matched_levels(ratio_of(student, teacher), strides, teacher.neck.strides)


def check_scales(config: CrossScaleConfig, student: CameraSide, teacher: CameraSide) -> None:
    """Raise ConfigError for the first thing that does not fit."""
    _check_weights(config)
    ratio = ratio_of(student, teacher)
    _check_views(student, teacher)
    if config.pyramid > 0 and not matches_of(student, teacher):
        raise ConfigError(
            f"no level of {student.pixels} is near one of {teacher.pixels} at ratio {ratio:g}; give a teacher of fewer "
            "pixels, or set cross_scale.pyramid=0"
        )
    if config.depth > 0:
        _check_depth(ratio, student, teacher)
    if config.pearson.weight > 0:
        if not config.layers:
            raise ConfigError("cross_scale.pearson has a weight but cross_scale.layers names no pair; name one")
        check_pairs("cross_scale.layers", config.layers, student.bev, teacher.bev)
    if config.response.boxes > 0 and student.spec.heading is not teacher.spec.heading:
        raise ConfigError(
            f"cross_scale.response.boxes compares box codes, but {student.bev.name} codes headings as "
            f"'{student.spec.heading}' and {teacher.bev.name} as '{teacher.spec.heading}'; set model.heading="
            f"{teacher.spec.heading} or cross_scale.response.boxes=0"
        )


def weights_of(config: CrossScaleConfig) -> dict[str, float]:
    """By key."""
    return {
        "pyramid": config.pyramid,
        "depth": config.depth,
        "pearson.weight": config.pearson.weight,
        "response.heatmap": config.response.heatmap,
        "response.boxes": config.response.boxes,
    }


def _check_weights(config: CrossScaleConfig) -> None:
    weights = weights_of(config)
    for key, value in weights.items():
        if not 0.0 <= value < float("inf"):
            raise ConfigError(f"cross_scale.{key} is {value:g}; set it to 0 (switched off) or to a positive number")
    if not any(weights.values()):
        raise ConfigError(
            f"the section cross_scale switches every term off; give one of them a weight ({', '.join(weights)}), or "
            "clear cross_scale.teacher"
        )


def _check_views(student: CameraSide, teacher: CameraSide) -> None:
    """The two see one world from one rig."""
    ours, theirs = student.spec, teacher.spec
    if ours.trained_cameras != theirs.trained_cameras:
        raise ConfigError(
            f"the camera teacher {teacher.bev.name} was trained with {theirs.trained_cameras} cameras, "
            f"{student.bev.name} is for {ours.trained_cameras}; give a teacher of the same rig"
        )
    if ours.view.kind != theirs.view.kind or ours.view.heights != theirs.view.heights:
        raise ConfigError(
            f"the camera teacher {teacher.bev.name} has the view transform {_view(theirs)}, {student.bev.name} "
            f"{_view(ours)}; train the teacher with the student's model.view"
        )
    if theirs.memory is not None and ours.memory is None:
        raise ConfigError(
            f"the camera teacher {teacher.bev.name} remembers earlier frames, which samples of {student.bev.name} do "
            "not have; give a teacher without memory"
        )


def _view(spec: StudentSpec) -> str:
    return f"{spec.view.kind} at heights {', '.join(f'{height:g}' for height in spec.view.heights)} m"


def _check_depth(ratio: float, student: CameraSide, teacher: CameraSide) -> None:
    """A bin means the same range: its focal length grows with the image."""
    for side in (student, teacher):
        if not side.has_depth:
            raise ConfigError(f"{side.bev.name} predicts no depth bins; set cross_scale.depth=0")
    ours, theirs = student.spec.view.depth, teacher.spec.view.depth
    if (ours.start, ours.step, ours.count) != (theirs.start, theirs.step, theirs.count):
        raise ConfigError(
            f"{student.bev.name} has {ours.count} depth bins of {ours.step:g} m from {ours.start:g} m, but the camera "
            f"teacher {teacher.bev.name} {theirs.count} of {theirs.step:g} m from {theirs.start:g} m; give both the "
            "same, or set cross_scale.depth=0"
        )
    if abs(theirs.focal - ratio * ours.focal) > SAME_FOCAL * theirs.focal:
        raise ConfigError(
            f"a depth bin of {student.bev.name} means another range than one of the camera teacher {teacher.bev.name}: "
            f"model.view.depth_focal is {ours.focal:g} and {theirs.focal:g} pixels, at images {ratio:g} times as "
            f"large; set the student's to {theirs.focal / ratio:g}"
        )
