"""Checks that a teacher and a student fit together, and that the configuration names layers they have."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import NamedTuple

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import DistillConfig, LayerPair
from kd_training.distill.feature_checks import check_feature_terms
from kd_training.distill.head import task_heads
from kd_training.models.center_head import PRE_HEAD, SHARED, CenterHead


class Side(NamedTuple):
    """One detector as distillation sees it.

    name: in messages; grid: its BEV grid; classes: what its head tells apart; channels: of its BEV features, by name;
    head: its head; heights: how many the channels of a layer stack, by name, where there are any.
    """

    name: str
    grid: BevGrid
    classes: ClassList
    channels: dict[str, int]
    head: CenterHead
    heights: Mapping[str, int] = MappingProxyType({})


def check_fit(config: DistillConfig, student: Side, teacher: Side) -> None:
    """Raise ConfigError for the first thing that does not fit."""
    _check_grids(student, teacher)
    _check_classes(student, teacher)
    _check_layers(config, student, teacher)
    _check_terms(config)
    check_feature_terms(config, teacher.channels)
    _check_codings(config, student, teacher)
    _check_thirds(config, student, teacher)
    if config.inherit_head:
        _check_heads(student, teacher)


def _check_grids(student: Side, teacher: Side) -> None:
    ours, theirs = student.grid, teacher.grid
    extents = [(grid.x_min, grid.x_max, grid.y_min, grid.y_max) for grid in (ours, theirs)]
    if extents[0] != extents[1]:
        spans = ["x {:g} to {:g}, y {:g} to {:g} m".format(*extent) for extent in extents]
        raise ConfigError(
            f"{student.name} covers {spans[0]}, but {teacher.name} covers {spans[1]}; give both the same grid.extent"
        )
    if ours.shape != theirs.shape:
        raise ConfigError(
            f"{student.name} has cells of {ours.cell_size:g} m, but {teacher.name} of {theirs.cell_size:g} m; "
            "give both the same grid.cell_size"
        )


def _check_classes(student: Side, teacher: Side) -> None:
    if _grouped(student.classes) != _grouped(teacher.classes):
        raise ConfigError(
            f"{student.name} detects {_grouped(student.classes)}, but {teacher.name} detects "
            f"{_grouped(teacher.classes)}; train a teacher on the student's classes, in the same order and groups"
        )


def _grouped(classes: ClassList) -> str:
    """What a head tells apart, in order: names of a group joined by commas, groups by semicolons."""
    return "; ".join(", ".join(entry.name for entry in group.classes) for group in classes.groups)


def _check_layers(config: DistillConfig, student: Side, teacher: Side) -> None:
    check_pairs("distill.layers", config.layers, student, teacher)
    if config.relation.weight > 0:
        _check_pair("distill.relation.layer", config.relation.layer, student, teacher)
    if config.ray_contrast.weight > 0:
        _check_pair("distill.ray_contrast.layer", config.ray_contrast.layer, student, teacher)


def check_pairs(where: str, pairs: Sequence[LayerPair], student: Side, teacher: Side) -> None:
    """Raise ConfigError, naming the key `where`, for a layer that one side lacks, and for one of the student's that
    stands in two pairs."""
    for index, pair in enumerate(pairs):
        _check_pair(f"{where}.{index}", pair, student, teacher)
    names = [pair.student for pair in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where} names the student's layer '{twice}' twice; keep one of the two pairs")


def _check_pair(where: str, pair: LayerPair, student: Side, teacher: Side) -> None:
    for key, name, side in (("student", pair.student, student), ("teacher", pair.teacher, teacher)):
        if name not in side.channels:
            near = get_close_matches(name, side.channels, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"{where}.{key}: {side.name} has no layer '{name}' (it has {', '.join(side.channels)}); "
                f"did you mean '{near}'?"
            )


def reads_layers(config: DistillConfig) -> bool:
    """Whether a term compares the pairs of distill.layers."""
    return any(weight > 0 for weight in _layered_weights(config).values())


def _layered_weights(config: DistillConfig) -> dict[str, float]:
    """Weights, by key, of the terms of distill.layers."""
    return {
        "feature.weight": config.feature.weight,
        "attention.weight": config.attention.weight,
        "pearson.weight": config.pearson.weight,
        "channel_groups.weight": config.channel_groups.weight,
        "volume_attention.weight": config.volume_attention.weight,
        "object_weights.weight": config.object_weights.weight,
    }


def _other_weights(config: DistillConfig) -> dict[str, float]:
    """Weights, by key, of the terms that need no distill.layers."""
    return {
        "response.heatmap": config.response.heatmap,
        "response.boxes": config.response.boxes,
        "relation.weight": config.relation.weight,
        "labels.weight": config.labels.weight,
        "labels.lidar": config.labels.lidar,
        "cross_head.weight": config.cross_head.weight,
        "ray_contrast.weight": config.ray_contrast.weight,
    }


def _check_terms(config: DistillConfig) -> None:
    feature = config.feature
    layered, others = _layered_weights(config), _other_weights(config)
    for key, value in (layered | others).items():
        if not 0.0 <= value < float("inf"):
            raise ConfigError(
                f"distill.{key} is {value:g}; set it to 0 (which switches the term off) or to a positive number"
            )
    if not (config.layers and any(layered.values())) and not any(others.values()):
        raise ConfigError(
            f"the section distill switches every term off; give one of them a weight ({', '.join(layered)} also need "
            "layers), or clear distill.teacher"
        )
    if not feature.regions and (feature.scale or feature.false_positives):
        raise ConfigError(
            "distill.feature.scale and false_positives need distill.feature.regions; switch "
            "regions on, or all three off"
        )
    if feature.temperature <= 0:
        raise ConfigError(f"distill.feature.temperature is {feature.temperature:g}; set it to a positive number")
    if config.ray_contrast.temperature <= 0 or config.ray_contrast.channels < 1:
        raise ConfigError(
            f"distill.ray_contrast.temperature is {config.ray_contrast.temperature:g} and channels "
            f"{config.ray_contrast.channels}; set both above 0"
        )
    if config.relation.points < 2:
        raise ConfigError(f"distill.relation.points is {config.relation.points}; set it to 2 or more points a side")


def _check_codings(config: DistillConfig, student: Side, teacher: Side) -> None:
    ours, theirs = (side.head.coding.heading for side in (student, teacher))
    if ours is not theirs and config.response.boxes > 0:
        raise ConfigError(
            f"distill.response.boxes compares box codes, but {student.name} codes headings as '{ours}' and "
            f"{teacher.name} as '{theirs}'; train the teacher again, or set model.heading={theirs} or "
            "distill.response.boxes=0"
        )


def _check_thirds(config: DistillConfig, student: Side, teacher: Side) -> None:
    """Channels that imitate labels and LiDAR: layers that both sides, and label encoders, have."""
    labels = config.labels
    if not (labels.weight > 0 or labels.lidar > 0):
        return
    if not labels.layers:
        raise ConfigError("distill.labels has a weight but no layers; name pairs, or set distill.labels.weight=0")
    check_pairs("distill.labels.layers", labels.layers, student, teacher)
    for index, pair in enumerate(labels.layers):
        if labels.weight > 0 and pair.teacher in (PRE_HEAD, SHARED, *teacher.heights):
            raise ConfigError(
                f"distill.labels.layers.{index}.teacher is {pair.teacher}, but label features stand in for the "
                "teacher's backbone; name one of its blocks"
            )


def _check_heads(student: Side, teacher: Side) -> None:
    wanted, given = (_sizes(side.head) for side in (student, teacher))
    if wanted != given:
        sizes = [_said(side.head) for side in (student, teacher)]
        raise ConfigError(
            f"the task heads of {student.name} (head_shared and head_hidden {sizes[0]}) cannot start as those of "
            f"{teacher.name} ({sizes[1]}); give both the same sizes or set distill.inherit_head=false"
        )


def _said(head: CenterHead) -> str:
    """The sizes in words; those of the box codes' hidden block where they are others."""
    hidden, codes = _hidden(head), head.regression[0][0][0].out_channels
    beside = "" if codes == hidden else f", with head_codes {codes}"
    return f"{head.shared_channels} and {hidden}{beside}"


def _sizes(head: CenterHead) -> dict[str, tuple[int, ...]]:
    """Shapes of the task heads' weights by name; codes, which differ between codings, do not count."""
    shapes = {
        f"{part}.{name}": tuple(value.shape)
        for part, module in task_heads(head).items()
        for name, value in module.state_dict().items()
    }
    return {name: shape[1:] if name in head.code_rows else shape for name, shape in shapes.items()}


def _hidden(head: CenterHead) -> int:
    return head.heatmap[0][-1].in_channels
