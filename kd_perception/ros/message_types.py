"""Message classes by the names that bags and graphs use."""

import re
from importlib import import_module

from kd_perception.errors import DataError


def message_class(type_name: str) -> type:
    """The Python class of 'sensor_msgs/msg/Image'; raises DataError if its package is not installed."""
    package, _, name = type_name.partition("/msg/")
    if not re.fullmatch(r"[a-zA-Z]\w*/msg/[a-zA-Z]\w*", type_name):
        raise DataError(f"'{type_name}' is no ROS 2 message type like 'sensor_msgs/msg/Image'; leave the topic out")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(
            f"message type '{type_name}' is not installed; install {package or 'its package'} or leave the topic out"
        ) from error
