"""Pictures that would be shown wrongly are refused."""

from dataclasses import replace

import numpy as np
import pytest
from support.viewed import STAMP_NS, cameras

from kd_perception.drawing.cameras import encode_image
from kd_perception.errors import DataError
from kd_perception.recordings.viewed_frame import ViewedImage


@pytest.mark.parametrize(("suffix", "name"), [(".jpg", "jpeg"), (".png", "png")])
def test_a_picture_has_the_format_and_the_size_of_its_calibration(suffix: str, name: str) -> None:
    camera, _ = cameras()
    data = encode_image(np.zeros((48, 64, 3), np.uint8), suffix)
    assert ViewedImage(camera, data, STAMP_NS).format == name
    for size in ({"width": 32, "height": 24}, {"width": 48, "height": 64}):
        with pytest.raises(DataError, match="camera 'ahead': its image is 64x48, but its calibration is for"):
            ViewedImage(replace(camera, **size), data, STAMP_NS)


@pytest.mark.parametrize("data", [b"", b"\x00\x00\x00\x01\x67h264", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="image of camera 'ahead' of .* bytes is neither JPEG nor PNG"):
        ViewedImage(cameras()[0], data, STAMP_NS)
