"""Which cameras publish rectified images: their lens is undone already, and CameraInfo's P describes them."""

import re
from collections.abc import Sequence

from kd_perception.errors import ConfigError

AUTO = "auto"
_CHOICES = {"true": True, "false": False}
_RECTIFIED_TOPIC = re.compile(r"(?:^|[/_])rect(?:ified)?(?:[/_]|$)")


def is_rectified_topic(topic: str) -> bool:
    """Whether a topic's name promises rectified images, as image_proc and stereo_image_proc name them."""
    return _RECTIFIED_TOPIC.search(topic) is not None


def rectified_cameras(choices: Sequence[str], topics: Sequence[str]) -> tuple[bool, ...]:
    """For each camera, by its image topic after remapping, whether its images are rectified.

    `choices`: auto (by the topic's name), true or false; one for all cameras, or one for each. Raises ConfigError.
    """
    wrong = [choice for choice in choices if choice != AUTO and choice not in _CHOICES]
    if wrong or len(choices) not in (1, len(topics)):
        raise ConfigError(
            f"parameter rectified is '{','.join(choices)}', but must be auto, true or false, once for all cameras or "
            f"once for each of the {len(topics)}"
        )
    each = tuple(choices) * (len(topics) if len(choices) == 1 else 1)
    return tuple(
        is_rectified_topic(topic) if choice == AUTO else _CHOICES[choice]
        for choice, topic in zip(each, topics, strict=True)
    )
