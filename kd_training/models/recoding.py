"""Weights that were made for one coding of boxes, for a model of another: what both can say is taken over."""

from torch import Tensor, nn

from kd_perception.student.box_codes import BoxCoding
from kd_training.models.center_head import CenterHead
from kd_training.models.memory import MotionHead


def recoded_weights(given: dict[str, Tensor], coding: BoxCoding, model: nn.Module) -> dict[str, Tensor]:
    """The weights `given`, which are of `coding`, as the model's head codes boxes.

    Codes of other names stay as the model has them: at random where it is new.
    """
    parts = dict(model.named_modules())
    head = next((part for part in parts.values() if isinstance(part, CenterHead)), None)
    if head is None or head.coding == coding:
        return given
    own, changed = model.state_dict(), dict(given)
    rate = coding.velocity_unit / head.coding.velocity_unit
    for prefix, part in parts.items():
        inside = f"{prefix}." if prefix else ""
        if isinstance(part, CenterHead):
            for name in (inside + row for row in part.code_rows if inside + row in given):
                changed[name] = recoded(given[name], coding, own[name], head.coding)
        elif isinstance(part, MotionHead):
            for name in (f"{inside}displacement.{kind}" for kind in ("weight", "bias")):
                if name in given:
                    changed[name] = given[name] * rate
    return changed


def recoded(given: Tensor, coding: BoxCoding, own: Tensor, own_coding: BoxCoding) -> Tensor:
    """Rows (codes, ...) of a last layer that was made for `coding`, as `own_coding` has them.

    Codes of the same name are taken over, velocities in the other unit; rows that `given` lacks stay those of `own`.
    """
    rows = own.clone()
    for place, name in enumerate(own_coding.names):
        if name in coding.names:
            rows[place] = given[coding.names.index(name)]
    rows[own_coding.velocities] *= coding.velocity_unit / own_coding.velocity_unit
    return rows
