"""The setting of glibc's allocator that training on a CPU wants."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt parameters of glibc


def tune_malloc() -> None:
    """Let glibc keep large freed blocks: CPU training reuses the same sizes every step, and fresh pages cost a quarter
    of its time."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return  # another C library: its own habits
