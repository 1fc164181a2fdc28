"""Time stamps: builtin_interfaces/Time <-> integer nanoseconds (no float64 holds them exactly)."""

from builtin_interfaces.msg import Time

from kd_perception.messages.builder import NANOSECONDS
from kd_perception.ros.live import LIVE


def to_nanoseconds(stamp: Time) -> int:
    """Nanoseconds of a message's stamp."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def to_time(stamp_ns: int) -> Time:
    """A message stamp of nanoseconds; raises ValueError outside the message's 32-bit seconds."""
    return LIVE.time(stamp_ns)
