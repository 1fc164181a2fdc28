"""Live messages: the builder over the classes that ROS generates for Python."""

from functools import cache

import numpy as np

from kd_perception.messages.builder import Message, MessageBuilder
from kd_perception.ros.message_types import message_class

_class_of = cache(message_class)


def make(type_name: str, **fields: object) -> Message:
    """A message of a generated class; raises DataError if its package is not installed."""
    return _class_of(type_name)(**{name: _as_field(value) for name, value in fields.items()})


def _as_field(value: object) -> object:
    """Generated classes take bytes for uint8[] and lists for other sequences, quickest so."""
    if isinstance(value, np.ndarray):
        return value.tobytes() if value.dtype == np.uint8 else value.tolist()
    return value


LIVE = MessageBuilder(make)
