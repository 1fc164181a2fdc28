"""Names of topics: what a sensor's name becomes, and what ROS allows (design.ros2.org, topic and service names).

Names are relative: a robot's namespace holds all of them, so that several robots share a network.
"""

import re
from collections.abc import Sequence

from kd_perception.errors import ConfigError

ODOMETRY = "odom"
SAMPLE = "sample"
TF_TOPIC, TF_STATIC_TOPIC = "tf", "tf_static"
_NAME = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
ALLOWED = "letters, digits, '_' and '/', no part empty or with a digit first"


def sensor_topic(name: str) -> str:
    """What stands before a sensor's topics: its name, with '_' for whatever ROS does not allow there.

    '/' in the name makes a path; a leading one makes it absolute, outside of the robot's namespace. Raises ConfigError
    if a part of the name has no letter or digit that could stand.
    """
    root, parts = "/" * name.startswith("/"), name.removeprefix("/").split("/")
    tokens = [re.sub(r"[^A-Za-z0-9_]+", "_", part.strip()) for part in parts]
    if not all(token.strip("_") for token in tokens):
        raise ConfigError(f"'{name}' cannot name the topics of a sensor; each part of it needs a letter a-z or a digit")
    return root + "/".join(f"_{token}" if token[0].isdigit() else token for token in tokens)


def camera_topics(names: Sequence[str], below: str, image: str) -> list[tuple[str, str]]:
    """Topics of each camera's raw images and of its CameraInfo.

    `below`: their prefix, where {name} stands for what a name becomes and {i} for its number; `image`: the images' name
    below that. Raises ConfigError for a name that makes no topic or is given twice, and for cameras that share a topic.
    """
    owners: dict[str, str] = {}
    topics = []
    for i, name in enumerate(names):
        prefix = below.replace("{i}", str(i))
        prefix = prefix.replace("{name}", sensor_topic(name)) if "{name}" in prefix else prefix
        check_name(f"{prefix}/{image}", f"the topic of camera '{name}'")
        other = owners.setdefault(prefix.removeprefix("/"), name)
        if names.count(name) > 1:
            raise ConfigError(f"camera '{name}' is named {names.count(name)} times; give each camera a name of its own")
        if other != name:
            raise ConfigError(
                f"cameras '{other}' and '{name}' both have the topic {prefix}/{image}; rename one of them"
            )
        topics.append((f"{prefix}/{image}", f"{prefix}/camera_info"))
    return topics


def check_name(name: str, what: str) -> None:
    """Raise ConfigError, which says `what` it is, if ROS does not take a name for a topic or namespace; '' is none."""
    if name and not _NAME.fullmatch(name):
        raise ConfigError(f"{what} is '{name}', but must be a name as ROS takes it: {ALLOWED}")
