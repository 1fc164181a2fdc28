"""Rectified topics are known by their names after remapping, unless the user says what they are."""

import pytest

from kd_perception.errors import ConfigError
from kd_perception.ros.rectified import is_rectified_topic, rectified_cameras

RECTIFIED = [
    "/front/image_rect",
    "/front/image_rect_color/compressed",
    "/camera/color/image_rect_raw",
    "/rect/image",
    "/a/image_rect/compressed",
    "/image_rectified",
]
RAW = ["/front/image_raw", "/rectangle/image", "/front/image", "/direct/image", "/unrectified/image", "/correct"]


def test_rectified_topics_are_known_by_their_names():
    assert all(is_rectified_topic(topic) for topic in RECTIFIED)
    assert not any(is_rectified_topic(topic) for topic in RAW)


def test_the_user_decides_for_all_cameras_or_for_each():
    topics = ["/a/image_rect", "/b/image", "/c/rect/image"]
    assert rectified_cameras(["auto"], topics) == (True, False, True)
    assert rectified_cameras(["true"], topics) == (True, True, True)
    assert rectified_cameras(["false", "true", "auto"], topics) == (False, True, True)


@pytest.mark.parametrize("choices", [[], ["yes"], ["auto", "true"], ["auto", "true", "maybe"]])
def test_other_choices_are_refused(choices):
    with pytest.raises(ConfigError, match="rectified is .* once for each of the 3"):
        rectified_cameras(choices, ["/a", "/b", "/c"])
