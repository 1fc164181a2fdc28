"""Time stamps: builtin_interfaces/Time <-> integer nanoseconds (no float64 holds them exactly)."""

from builtin_interfaces.msg import Time

NANOSECONDS = 1_000_000_000


def to_nanoseconds(stamp: Time) -> int:
    """Nanoseconds of a message's stamp."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def to_time(stamp_ns: int) -> Time:
    """A message stamp of nanoseconds; raises ValueError outside the message's 32-bit seconds."""
    seconds, nanoseconds = divmod(int(stamp_ns), NANOSECONDS)
    if not -(2**31) <= seconds < 2**31:
        raise ValueError(f"{stamp_ns} ns is outside builtin_interfaces/Time; stamps are nanoseconds since 1970")
    return Time(sec=seconds, nanosec=nanoseconds)
