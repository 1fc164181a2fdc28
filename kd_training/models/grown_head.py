"""Weights of a student whose head knew fewer classes, or other groups: what it learnt finds its place in a new one."""

from collections.abc import Iterator

from torch import Tensor, nn

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import ClassList, HeadGroup
from kd_training.models.center_head import CenterHead


def grown_weights(given: dict[str, Tensor], old: ClassList, new: ClassList, model: nn.Module) -> dict[str, Tensor]:
    """The weights `given`, of a student of the classes `old`, for the model, which detects `new`.

    Outputs of the old classes stay exactly what they were; classes that join begin as the model has them. Raises
    ConfigError if a new group joins classes of several old groups: one block cannot do what two did.
    """
    if old == new:
        return given
    own, changed = model.state_dict(), dict(given)
    for prefix, part in model.named_modules():
        if isinstance(part, CenterHead):
            inside = f"{prefix}." if prefix else ""
            for name in [name for name in changed if name.startswith((f"{inside}heatmap.", f"{inside}regression."))]:
                del changed[name]
            for place, group in enumerate(new.groups):
                changed |= dict(_group_weights(given, own, inside, _Group(place, group, _source(old, group)), old))
    return changed


class _Group:
    """A new group: its place, and the old group that its old classes are from, None for new classes alone."""

    def __init__(self, place: int, group: HeadGroup, source: int | None) -> None:
        self.place, self.names, self.source = place, [entry.name for entry in group.classes], source


def _source(old: ClassList, group: HeadGroup) -> int | None:
    """The one old group whose classes a new group has."""
    names = [entry.name for entry in group.classes if entry.name in old.names]
    sources = sorted({int(old.group_of_label[old.names.index(name)]) for name in names})
    if len(sources) > 1:
        raise ConfigError(
            f"model.classes joins {', '.join(names)} in one head group, but the old student has them in "
            f"{len(sources)}; keep them in groups of their own: one block cannot go on with the work of several"
        )
    return sources[0] if sources else None


def _group_weights(
    given: dict[str, Tensor], own: dict[str, Tensor], inside: str, group: _Group, old: ClassList
) -> Iterator[tuple[str, Tensor]]:
    """Names and values of a new group's branches."""
    for branch in ("heatmap", "regression"):
        target, source = f"{inside}{branch}.{group.place}.", f"{inside}{branch}.{group.source}."
        for name in [name for name in own if name.startswith(target)]:
            value = own[name] if group.source is None else given[source + name.removeprefix(target)]
            if branch == "heatmap" and group.source is not None and name.startswith(f"{target}1."):
                value = _rows(value, own[name], group, old)
            yield name, value


def _rows(given: Tensor, own: Tensor, group: _Group, old: ClassList) -> Tensor:
    """Rows (classes, ...) of a heatmap's last layer: those of old classes at their new places, `own` elsewhere."""
    rows, names = own.clone(), [entry.name for entry in old.groups[group.source].classes]
    for place, name in enumerate(group.names):
        if name in names:
            rows[place] = given[names.index(name)]
    return rows
