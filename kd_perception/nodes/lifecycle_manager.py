"""Configures and activates the nodes of a launch file, then ends: 0 if all are active, 1 with a sentence otherwise."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import rclpy
from rclpy.signals import SignalHandlerOptions

from kd_perception.bringup.lifecycle_client import LifecycleClient
from kd_perception.errors import KdError
from kd_perception.interrupts import ignore_all
from kd_perception.nodes.common.node import ProcessNode, listen_to_signals
from kd_perception.nodes.common.parameters import declare_parameters, read_parameters
from kd_perception.options.option import option


@dataclass(frozen=True)
class LifecycleManagerOptions:
    """Parameters of the manager."""

    nodes: tuple[str, ...] = option(
        "Names of the lifecycle nodes in the order of their activation, relative to the namespace.", default=()
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the manager as a process."""
    listen_to_signals()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("lifecycle_manager")
    code = 0
    try:
        declare_parameters(node, LifecycleManagerOptions())
        names = read_parameters(node, LifecycleManagerOptions).nodes
        with LifecycleClient(names, namespace=node.get_namespace(), report=node.get_logger().warning) as client:
            client.bring_up(stop=ProcessNode.interrupted.is_set)
            client.refuse_late_namesakes(stop=ProcessNode.interrupted.is_set)
    except KdError as error:
        node.get_logger().error(f"{error}; read why in the log of that node, fix it and start again")
        code = 1
    finally:
        rclpy.try_shutdown()
        ignore_all()
    sys.exit(code)


if __name__ == "__main__":
    main()
