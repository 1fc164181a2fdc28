"""Do a teacher and a student fit together, and does the configuration name what they have?"""

from difflib import get_close_matches
from typing import NamedTuple

from kd_perception.errors import ConfigError
from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import DistillConfig, LayerPair
from kd_training.distill.head import task_heads
from kd_training.models.center_head import CenterHead


class Side(NamedTuple):
    """What distillation must know of a detector: its name in messages, its grid, its classes in order, the channels of
    its features by name, and its head."""

    name: str
    grid: BevGrid
    classes: tuple[str, ...]
    channels: dict[str, int]
    head: CenterHead


def check_fit(config: DistillConfig, student: Side, teacher: Side) -> None:
    """Raise ConfigError with one sentence for the first thing that does not fit."""
    _check_grids(student, teacher)
    _check_classes(student, teacher)
    _check_layers(config, student, teacher)
    _check_terms(config)
    if config.inherit_head:
        _check_heads(student, teacher)


def _check_grids(student: Side, teacher: Side) -> None:
    ours, theirs = student.grid, teacher.grid
    extents = [(grid.x_min, grid.x_max, grid.y_min, grid.y_max) for grid in (ours, theirs)]
    if extents[0] != extents[1]:
        spans = ["x {:g} to {:g}, y {:g} to {:g} m".format(*extent) for extent in extents]
        raise ConfigError(
            f"the ranges of {student.name} ({spans[0]}) and {teacher.name} ({spans[1]}) differ; give both the same "
            "grid.extent"
        )
    if ours.shape != theirs.shape:
        raise ConfigError(
            f"the cells of {student.name} ({ours.cell_size:g} m) and {teacher.name} ({theirs.cell_size:g} m) differ; "
            "give both the same grid.cell_size"
        )


def _check_classes(student: Side, teacher: Side) -> None:
    if student.classes != teacher.classes:
        raise ConfigError(
            f"{student.name} knows the classes {', '.join(student.classes)}, but {teacher.name} knows "
            f"{', '.join(teacher.classes)}; train a teacher on the student's classes, in the same order"
        )


def _check_layers(config: DistillConfig, student: Side, teacher: Side) -> None:
    named = [(f"distill.layers.{index}", pair) for index, pair in enumerate(config.layers)]
    if config.relation.weight > 0:
        named.append(("distill.relation.layer", config.relation.layer))
    for where, pair in named:
        _check_pair(where, pair, student, teacher)
    names = [pair.student for pair in config.layers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"distill.layers names the student's layer '{twice}' twice; let it imitate one layer")


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
            raise ConfigError(f"distill.{key} is {value:g}; a weight is 0 (which leaves the term out) or positive")
    layered = config.layers and (feature.weight > 0 or config.attention.weight > 0)
    if not layered and not any(list(weights.values())[2:]):
        raise ConfigError(
            "the distill section leaves every term out; give one of them a weight (and layers), or no teacher"
        )
    if not feature.regions and (feature.scale or feature.false_positives):
        raise ConfigError(
            "distill.feature: scale and false_positives are about regions; switch them off with regions, or regions on"
        )
    if feature.temperature <= 0:
        raise ConfigError(f"distill.feature.temperature is {feature.temperature:g}; it must be positive")
    if config.relation.points < 2:
        raise ConfigError(
            f"distill.relation.points is {config.relation.points}; relations need 2 points or more a side"
        )


def _check_heads(student: Side, teacher: Side) -> None:
    sources = task_heads(teacher.head)
    for name, module in task_heads(student.head).items():
        wanted, given = ({key: tuple(v.shape) for key, v in m.state_dict().items()} for m in (module, sources[name]))
        if wanted != given:
            sizes = [f"{side.head.shared_channels} and {_hidden(side.head)}" for side in (student, teacher)]
            raise ConfigError(
                f"the task heads of {student.name} (head_shared and head_hidden {sizes[0]}) cannot start as those of "
                f"{teacher.name} ({sizes[1]}); give both the same sizes or set distill.inherit_head=false"
            )


def _hidden(head: CenterHead) -> int:
    return head.heatmap[0][-1].in_channels
