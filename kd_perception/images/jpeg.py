"""JPEGs at a reduced scale by libjpeg, which also tells a cut picture from one with stray bytes (ITU-T T.81)."""

import re
import struct

import numpy as np
import simplejpeg

from kd_perception.errors import DataError

_MAGIC = b"\xff\xd8"
_STRAY_BYTES = re.compile(r"extraneous bytes before marker")
_SEQUENTIAL = (0xC0, 0xC1)  # frames of one scan with Huffman codes
_FRAMES = (*_SEQUENTIAL, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_RESTART_INTERVAL, _SCAN, _END, _RESTART = 0xDD, 0xDA, 0xD9, 0xD0
_RESTARTS = 8  # restart markers are numbered in turn


def is_jpeg(data: bytes | memoryview) -> bool:
    """Whether the bytes begin as a JPEG does."""
    return bytes(data[:2]) == _MAGIC


def jpeg_size(data: bytes | memoryview) -> tuple[int, int]:
    """(height, width) that a JPEG's header gives; raises DataError if it is damaged."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise _damaged(data, error) from error
    return height, width


def decode_reduced_jpeg(data: bytes | memoryview, reduction: int) -> np.ndarray:
    """RGB uint8 of a JPEG at 1 / reduction of its size (rounded up), by libjpeg's scaled inverse DCT.

    `reduction` is 1, 2, 4 or 8. Stray bytes before a marker, which common USB cameras send, are skipped. Raises
    DataError if the JPEG is cut, damaged, or cannot be decoded at this scale.
    """
    height, width = jpeg_size(data)
    smallest = (-(-height // reduction), -(-width // reduction))
    try:
        decoded = _decode(data, smallest, strict=True)
    except ValueError as error:
        if not (_STRAY_BYTES.search(str(error)) and _is_whole(data)):
            raise _damaged(data, error) from error
        decoded = _decode(data, smallest, strict=False)
    if decoded.shape[:2] != smallest:
        raise DataError(
            f"JPEG image of {width}x{height} cannot be decoded at 1/{reduction} scale; send an ordinary baseline JPEG"
        )
    return decoded


def _decode(data: bytes | memoryview, smallest: tuple[int, int], *, strict: bool) -> np.ndarray:
    return simplejpeg.decode_jpeg(
        data, "RGB", min_height=smallest[0], min_width=smallest[1], min_factor=1, strict=strict
    )


def _is_whole(data: bytes | memoryview) -> bool:
    """Whether a sequential JPEG has all its restart markers in turn and its end: libjpeg reports one problem only."""
    view = memoryview(data)
    position, blocks, interval = len(_MAGIC), 0, 0
    while position + 4 <= len(view):
        prefix, marker, length = struct.unpack_from(">BBH", view, position)
        if prefix != 0xFF:
            return False
        if marker == _SCAN:
            found = _markers(view[position + 2 + length :])
            count = -(-blocks // interval) - 1 if interval else 0
            wanted = [_RESTART + index % _RESTARTS for index in range(count)]
            return blocks > 0 and found == [*wanted, _END]
        if marker in _FRAMES:
            blocks = _minimum_coded_units(view[position + 4 :]) if marker in _SEQUENTIAL else 0
        elif marker == _RESTART_INTERVAL:
            (interval,) = struct.unpack_from(">H", view, position + 4)
        position += 2 + length
    return False


def _minimum_coded_units(frame: memoryview) -> int:
    """How many groups of 8x8 blocks a frame header announces; restart intervals are counted in them."""
    _, height, width, components = struct.unpack_from(">BHHB", frame)
    if components == 1:
        return -(-height // 8) * -(-width // 8)
    sampling = [frame[7 + 3 * index] for index in range(components)]
    across, down = 8 * max(value >> 4 for value in sampling), 8 * max(value & 15 for value in sampling)
    return -(-height // down) * -(-width // across)


def _markers(scan: memoryview) -> list[int]:
    """Markers in the coded data, up to the end of the image; what follows that is no part of it."""
    values = np.frombuffer(scan, np.uint8)
    following = values[1:]
    found = following[(values[:-1] == 0xFF) & (following != 0) & (following != 0xFF)].tolist()
    return found[: found.index(_END) + 1] if _END in found else found


def _damaged(data: bytes | memoryview, error: Exception) -> DataError:
    return DataError(
        f"JPEG image of {len(data)} bytes is truncated or damaged ({error}); check the camera driver or restore the "
        "file"
    )
