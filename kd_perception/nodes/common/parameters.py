"""ROS parameters of a node from its options dataclass: declared with descriptors, read back typed."""

from typing import TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from kd_perception.options.option import Option, options_of

Options = TypeVar("Options")


def declare_parameters(node: Node, defaults: object) -> None:
    """Declare every option of the dataclass instance `defaults` on the node, with its value and a descriptor."""
    for option in options_of(type(defaults)):
        default = option.to_parameter(getattr(defaults, option.name))
        plain = list(default) if isinstance(default, tuple) else default
        node.declare_parameter(option.name, plain, _descriptor(option))


def read_parameters(node: Node, kind: type[Options]) -> Options:
    """The node's current values; raises ConfigError, which names the parameter that has a value not allowed."""
    values = {option.name: option.from_parameter(node.get_parameter(option.name).value) for option in options_of(kind)}
    return kind(**values)


def _descriptor(option: Option) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(name=option.name, description=option.description)
    if option.choices:
        descriptor.additional_constraints = option.allowed
    if option.limits is not None and option.kind is float:
        low, high = option.limits
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    elif option.limits is not None:
        low, high = option.limits
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor
