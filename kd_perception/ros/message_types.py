"""Message classes by the names that bags and graphs use."""

from importlib import import_module

from kd_perception.errors import DataError


def message_class(type_name: str) -> type:
    """The Python class of 'sensor_msgs/msg/Image'; raises DataError if its package is not installed."""
    package, _, name = type_name.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(
            f"message type '{type_name}' is not installed; install {package or 'its package'} or leave the topic out"
        ) from error
