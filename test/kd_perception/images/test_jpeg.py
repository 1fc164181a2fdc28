"""Stray bytes in a JPEG, as common USB cameras send them, against JPEGs that are cut or have lost a part."""

import re

import cv2
import numpy as np
import pytest

from kd_perception.errors import DataError
from kd_perception.images.jpeg import decode_reduced_jpeg

SIZES = [(240, 320), (100, 150), (33, 65)]  # also such that no side is a whole number of blocks
FULL, HALVED = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422


def jpeg(size, interval, *, sampling=cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, grey=False, progressive=0):
    rng = np.random.default_rng(size[0])
    picture = cv2.GaussianBlur(rng.integers(0, 256, (*size, 3), np.uint8), (0, 0), 2)
    settings = [cv2.IMWRITE_JPEG_RST_INTERVAL, interval, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    settings += [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    return cv2.imencode(".jpg", picture[:, :, 0] if grey else picture, settings)[1].tobytes()


def markers(data):
    """Places of the restart markers and of the end."""
    scan = data.index(b"\xff\xda")
    return [found.start() + scan for found in re.finditer(rb"\xff[\xd0-\xd7\xd9]", data[scan:])]


def with_stray_bytes(data, places, stray=b"\x12\x00\x55"):
    for place in sorted(places, reverse=True):
        data = data[:place] + stray + data[place:]
    return data


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"sampling": FULL}, {"sampling": HALVED}, {"grey": True}])
@pytest.mark.parametrize("stray", [b"\x00", b"\x12\x00\x55", b"\xff\x00\x7f", bytes(range(1, 40))])
def test_stray_bytes_before_markers_change_nothing(size, options, stray):
    whole = jpeg(size, 3, **options)
    places = markers(whole)
    for chosen in ([places[0]], places[2:4], places):
        stained = with_stray_bytes(whole, chosen, stray)
        for reduction in (1, 2, 8):
            assert np.array_equal(decode_reduced_jpeg(stained, reduction), decode_reduced_jpeg(whole, reduction))


def test_stray_bytes_before_the_end_of_a_jpeg_without_restarts():
    whole = jpeg((64, 96), 0)
    assert np.array_equal(
        decode_reduced_jpeg(with_stray_bytes(whole, markers(whole)), 1), decode_reduced_jpeg(whole, 1)
    )
    assert np.array_equal(decode_reduced_jpeg(whole + b"\0" * 50, 1), decode_reduced_jpeg(whole, 1))  # padded


@pytest.mark.parametrize("interval", [0, 2])
@pytest.mark.parametrize("stained", [False, True])
def test_what_is_cut_or_has_lost_a_part_is_refused(interval, stained):
    whole = jpeg((100, 150), interval)
    places = markers(whole)
    if stained:
        whole = with_stray_bytes(whole, places[:1])
        places = markers(whole)
    broken = [whole[:length] for length in range(len(whole) - 2, 20, -97)]
    broken += [whole[: len(whole) // 2] + b"\xff\xd9"]
    if interval:
        broken += [whole[: places[4] + 2] + whole[places[6] :], whole[: places[4]] + whole[places[12] :]]
    for data in broken:
        with pytest.raises(DataError, match="truncated or damaged"):
            decode_reduced_jpeg(data, 1)


def test_a_progressive_jpeg_is_read_but_not_with_stray_bytes():
    whole = jpeg((64, 96), 0, progressive=1)
    assert decode_reduced_jpeg(whole, 1).shape == (64, 96, 3)
    with pytest.raises(DataError, match="truncated or damaged"):
        decode_reduced_jpeg(with_stray_bytes(whole, markers(whole)), 1)
