"""The setting of glibc's allocator that training on a CPU wants."""

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # mallopt parameters of glibc
_NEVER, _PAD_BYTES = -1, 2**26


def tune_malloc() -> bool:
    """Let glibc keep freed blocks: CPU training asks for the same sizes every step, and fresh pages cost much of it.

    No block is mapped on its own, and the heap is never cut. M_MMAP_THRESHOLD would do the same, but many versions of
    glibc refuse values above 32 MB. Returns whether the C library took the setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library: its own habits
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, _NEVER), mallopt(_M_TOP_PAD, _PAD_BYTES)])
