"""Node parameters as frozen dataclasses: declared with descriptors (text, range, choices) and read back typed."""

from dataclasses import MISSING, Field, field, fields
from typing import TYPE_CHECKING, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from kd_perception.errors import ConfigError

if TYPE_CHECKING:
    from rclpy.node import Node

Parameters = TypeVar("Parameters")


def parameter(
    default: object,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Field:
    """A dataclass field that is a ROS parameter: its default, what it means (with unit), its range or its choices."""
    return field(
        default=default,
        metadata={"description": description, "minimum": minimum, "maximum": maximum, "choices": choices},
    )


def declare_parameters(node: "Node", kind: type) -> None:
    """Declare every field of the dataclass `kind` on the node, with a descriptor."""
    for item in fields(kind):
        assert item.default is not MISSING
        node.declare_parameter(item.name, _wire_value(item.default), _descriptor(item))


def read_parameters(node: "Node", kind: type[Parameters]) -> Parameters:
    """The node's current values; raises ConfigError naming a parameter that is not one of its choices."""
    values = {}
    for item in fields(kind):
        value = node.get_parameter(item.name).value
        if isinstance(item.default, tuple):
            value = tuple(entry for entry in value if entry)
        choices = item.metadata["choices"]
        if choices and value not in choices:
            raise ConfigError(f"parameter {item.name} is '{value}', but must be one of: {', '.join(choices)}")
        values[item.name] = value
    return kind(**values)


def _wire_value(default: object) -> object:
    """ROS cannot tell an empty list's type, so an empty list of strings travels as one empty string."""
    return list(default) or [""] if isinstance(default, tuple) else default


def _descriptor(item: Field) -> ParameterDescriptor:
    minimum, maximum = item.metadata["minimum"], item.metadata["maximum"]
    choices = item.metadata["choices"]
    descriptor = ParameterDescriptor(name=item.name, description=item.metadata["description"])
    if choices:
        descriptor.additional_constraints = f"one of: {', '.join(choices)}"
    if minimum is not None and maximum is not None:
        if isinstance(item.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(minimum), to_value=float(maximum), step=0.0)
            ]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(minimum), to_value=int(maximum), step=1)]
    return descriptor
