"""Checks that a teacher and a student fit together, and that the configuration names layers they have."""

from difflib import get_close_matches
from typing import NamedTuple

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import DistillConfig, LayerPair
from kd_training.distill.head import task_heads
from kd_training.models.center_head import CenterHead


class Side(NamedTuple):
    """One detector as distillation sees it.

    name: in messages; grid: its BEV grid; classes: what its head tells apart; channels: of its BEV features, by name;
    head: its head.
    """

    name: str
    grid: BevGrid
    classes: ClassList
    channels: dict[str, int]
    head: CenterHead


def check_fit(config: DistillConfig, student: Side, teacher: Side) -> None:
    """Raise ConfigError for the first thing that does not fit."""
    _check_grids(student, teacher)
    _check_classes(student, teacher)
    _check_layers(config, student, teacher)
    _check_terms(config)
    _check_codings(config, student, teacher)
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
    named = [(f"distill.layers.{index}", pair) for index, pair in enumerate(config.layers)]
    if config.relation.weight > 0:
        named.append(("distill.relation.layer", config.relation.layer))
    for where, pair in named:
        _check_pair(where, pair, student, teacher)
    names = [pair.student for pair in config.layers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"distill.layers names the student's layer '{twice}' twice; keep one of the two pairs")


def _check_pair(where: str, pair: LayerPair, student: Side, teacher: Side) -> None:
    for key, name, side in (("student", pair.student, student), ("teacher", pair.teacher, teacher)):
        if name not in side.channels:
            near = get_close_matches(name, side.channels, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"{where}.{key}: {side.name} has no layer '{name}' (it has {', '.join(side.channels)}); "
                f"did you mean '{near}'?"
            )


def _check_terms(config: DistillConfig) -> None:
    feature, response = config.feature, config.response
    weights = {
        "feature.weight": feature.weight,
        "attention.weight": config.attention.weight,
        "response.heatmap": response.heatmap,
        "response.boxes": response.boxes,
        "relation.weight": config.relation.weight,
    }
    for key, value in weights.items():
        if not 0.0 <= value < float("inf"):
            raise ConfigError(
                f"distill.{key} is {value:g}; set it to 0 (which switches the term off) or to a positive number"
            )
    layered = config.layers and (feature.weight > 0 or config.attention.weight > 0)
    if not layered and not any(list(weights.values())[2:]):
        raise ConfigError(
            "the section distill switches every term off; give one of them a weight (features and attention also need "
            "layers), or clear distill.teacher"
        )
    if not feature.regions and (feature.scale or feature.false_positives):
        raise ConfigError(
            "distill.feature.scale and false_positives need distill.feature.regions; switch "
            "regions on, or all three off"
        )
    if feature.temperature <= 0:
        raise ConfigError(f"distill.feature.temperature is {feature.temperature:g}; set it to a positive number")
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


def _check_heads(student: Side, teacher: Side) -> None:
    wanted, given = (_sizes(side.head) for side in (student, teacher))
    if wanted != given:
        sizes = [f"{side.head.shared_channels} and {_hidden(side.head)}" for side in (student, teacher)]
        raise ConfigError(
            f"the task heads of {student.name} (head_shared and head_hidden {sizes[0]}) cannot start as those of "
            f"{teacher.name} ({sizes[1]}); give both the same sizes or set distill.inherit_head=false"
        )


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
