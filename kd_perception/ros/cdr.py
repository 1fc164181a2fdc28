"""Serialised messages, read field by field (CDR, OMG DDS-RTPS 10.5).

A four-byte encapsulation header names the byte order; the fields follow in order, each aligned to its size.
"""

import struct

from kd_perception.errors import DataError
from kd_perception.ros.stamps import NANOSECONDS

_HEADER_SIZE = 4
_BYTE_ORDER = {0x0000: ">", 0x0001: "<", 0x0006: ">", 0x0007: "<"}  # plain CDR and plain CDR2


def read_header(cdr: bytes) -> tuple[int, str]:
    """Stamp in nanoseconds and frame of a serialised message that begins with a std_msgs/Header.

    Raises DataError if the message is cut or not plain CDR.
    """
    return CdrReader(cdr).header()


class CdrReader:
    """Reads a serialised message field by field; raises DataError where it is cut, or is not plain CDR."""

    def __init__(self, cdr: bytes) -> None:
        self._bytes = memoryview(cdr)
        kind = int.from_bytes(self._bytes[:2], "big") if len(self._bytes) >= _HEADER_SIZE else None
        if kind not in _BYTE_ORDER:
            raise DataError("a message is not plain CDR; publish it with a standard ROS 2 middleware")
        self._order = _BYTE_ORDER[kind]
        self._position = _HEADER_SIZE

    def number(self, code: str) -> int:
        """An integer of struct's type `code`, aligned to its size."""
        size = struct.calcsize(code)
        self._position += -(self._position - _HEADER_SIZE) % size
        return struct.unpack(self._order + code, self._take(size))[0]

    def header(self) -> tuple[int, str]:
        """Stamp in nanoseconds and frame of a std_msgs/Header."""
        seconds, nanoseconds = self.number("i"), self.number("I")
        return seconds * NANOSECONDS + nanoseconds, self.string()

    def string(self) -> str:
        """A string; its length counts the closing zero."""
        return str(self._take(self.number("I")), "utf-8", "replace").rstrip("\0")

    def octets(self) -> memoryview:
        """A sequence of bytes, in place."""
        return self._take(self.number("I"))

    def _take(self, count: int) -> memoryview:
        taken = self._bytes[self._position : self._position + count]
        if len(taken) < count:
            raise DataError(
                f"a message of {len(self._bytes)} bytes is cut; check its publisher and the middleware's limits"
            )
        self._position += count
        return taken
