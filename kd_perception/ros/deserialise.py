"""Whole messages from their serialised bytes, with a sentence where they are malformed."""

from typing import TypeVar

from rclpy.serialization import deserialize_message

from kd_perception.errors import DataError

MessageType = TypeVar("MessageType")


def deserialise(cdr: bytes, kind: type[MessageType]) -> MessageType:
    """A message of class `kind`; raises DataError if the bytes are none."""
    try:
        return deserialize_message(cdr, kind)
    except RuntimeError as error:  # the middleware's own type derives from it
        raise DataError(
            f"a message of {len(cdr)} bytes is no {kind.__name__}; check its publisher and its type's version"
        ) from error
