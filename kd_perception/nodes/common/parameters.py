"""ROS parameters of a node from its options dataclass: declared with descriptors, read back typed, watched when set."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from kd_perception.errors import ConfigError, KdError
from kd_perception.options.option import Option, options_of

Options = TypeVar("Options")
ALIKE = 0.8  # of two names, by difflib: a parameter name so near to a known one is misspelt
OF_EVERY_NODE = ("use_sim_time", "start_type_description_service", "qos_overrides.")
AFTER_CONFIGURE = "takes effect after configure: deactivate and clean up the node, set it, configure and activate"


def declare_parameters(node: Node, defaults: object) -> None:
    """Declare every option of the dataclass instance `defaults` on the node, with its value and a descriptor.

    Values of parameter files and the command line come first, whole numbers for numbers, too. Raises ConfigError, which
    names each parameter that has a wrong type or value, or a misspelt name; other names are logged as without effect.
    """
    given = {name: parameter.value for name, parameter in node._parameter_overrides.items()}  # has no public name
    options = options_of(type(defaults))
    problems = []
    for option in options:
        default = option.to_parameter(getattr(defaults, option.name))
        try:
            default = option.to_parameter(option.from_parameter(given.get(option.name, default), unfinished=True))
        except ConfigError as error:
            problems.append(str(error))
        plain = list(default) if isinstance(default, tuple) else default
        node.declare_parameter(option.name, plain, _descriptor(option), ignore_override=True)
    known = {option.name for option in options}
    for name in given:
        if name not in known and not name.startswith(OF_EVERY_NODE):
            _judge_unknown(node, name, known, problems)
    if problems:
        raise ConfigError("; ".join(problems))


def read_parameters(node: Node, kind: type[Options]) -> Options:
    """The node's current values; raises ConfigError, which names the parameter that has a value not allowed."""
    return _current(node, kind, unfinished=False)


def watch_parameters(
    node: Node, kind: type[Options], in_use: Callable[[], Options | None], follow: Callable[[Options], None]
) -> None:
    """Refuse values that are not allowed when they are set, and those that a running node would not follow.

    `in_use` returns the options by which the node runs, None if it is not configured; `follow` gets the new ones when
    live options have changed, and may refuse them all by raising KdError.
    """
    known = {option.name: option for option in options_of(kind)}

    def check(parameters: list[Parameter]) -> SetParametersResult:
        options, values = in_use(), {}
        try:
            for parameter in parameters:
                if parameter.name in known:
                    values[parameter.name] = _value(known[parameter.name], parameter)
            if options is None:
                replace(_current(node, kind), **values)  # what a dataclass refuses of the values together
            else:
                _refuse_late(known, options, values)
                options = replace(options, **values)
            if options is not None and values:
                follow(options)
        except KdError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


def _current(node: Node, kind: type[Options], *, unfinished: bool = True) -> Options:
    return kind(**{
        option.name: option.from_parameter(node.get_parameter(option.name).value, unfinished=unfinished)
        for option in options_of(kind)
    })  # fmt: skip


def _value(option: Option, parameter: Parameter) -> object:
    """What is set; raises ConfigError also where the parameter is to be deleted."""
    if parameter.type_ == Parameter.Type.NOT_SET:
        raise ConfigError(f"parameter {option.name} cannot be deleted; it must be {option.allowed}")
    return option.from_parameter(parameter.value, unfinished=True)


def _refuse_late(known: Mapping[str, Option], options: object, values: Mapping[str, object]) -> None:
    late = [name for name, new in values.items() if not known[name].live and new != getattr(options, name)]
    if late:
        raise ConfigError(f"parameter {', '.join(late)} {AFTER_CONFIGURE}")


def _judge_unknown(node: Node, name: str, known: set[str], problems: list[str]) -> None:
    """A misspelt name is a problem; another one may be meant for other nodes that read the same file."""
    alike = get_close_matches(name, known, n=1, cutoff=ALIKE)
    if alike:
        problems.append(f"there is no parameter {name}; {alike[0]} is meant")
    else:
        node.get_logger().warning(f"there is no parameter {name}: its value has no effect on this node")


def _descriptor(option: Option) -> ParameterDescriptor:
    # Types are checked by our options, too: rclpy tells only their numbers, and refuses a whole number for a number.
    descriptor = ParameterDescriptor(name=option.name, description=option.description, dynamic_typing=True)
    constraints = ([option.allowed] if option.choices else []) + ([] if option.live else ["takes effect on configure"])
    descriptor.additional_constraints = "; ".join(constraints)
    if option.limits is not None and option.kind is float:
        low, high = option.limits
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    elif option.limits is not None:
        low, high = option.limits
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor
