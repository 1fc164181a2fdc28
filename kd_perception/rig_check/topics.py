"""Which topics of a bag are its cameras and its cloud, found by their types and names."""

from collections.abc import Sequence
from dataclasses import dataclass

from kd_perception.bags.reader import Topic
from kd_perception.errors import DataError
from kd_perception.ros.rectified import is_rectified_topic

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, CLOUD = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"
TRANSFORMS, MOVING, FIXED = "tf2_msgs/msg/TFMessage", "/tf", "/tf_static"
TRANSPORTS = ("compressed",)  # last part of a topic that image_transport adds
NOT_PICTURES = ("depth", "disparity", "mask", "label", "theora", "debug", "heatmap")  # in names of image topics
IMAGE_WORDS = ("image", "compressed", "color", "rgb", "raw", "rect", "mono")  # last parts of a name that tell no camera


@dataclass(frozen=True)
class CameraTopics:
    """One camera: its name, its image topic and type, its CameraInfo topic ('' where the bag has none).

    rectified: whether its images have no lens left, so that CameraInfo's P without D describes them.
    """

    name: str
    image: str
    image_type: str
    info: str
    rectified: bool = False


@dataclass(frozen=True)
class TransformTopics:
    """Topics of the transforms that move and of those that are fixed, and sentences on what is left out."""

    moving: tuple[str, ...]
    fixed: tuple[str, ...]
    problems: tuple[str, ...] = ()


def find_cameras(topics: Sequence[Topic], given: Sequence[str] = ()) -> tuple[CameraTopics, ...]:
    """The cameras of a bag, or those of `given`: entries 'NAME=IMAGE_TOPIC' or 'NAME=IMAGE_TOPIC,INFO_TOPIC'.

    An image topic belongs to the CameraInfo next to it or above it, as image_transport and image_pipeline have them. Of
    several image topics of one camera the compressed one is taken, and a raw rather than a rectified one. Raises
    DataError if there is none, or if an entry names a topic that the bag does not hold.
    """
    by_name = {topic.name: topic for topic in topics}
    if given:
        return tuple(_given_camera(entry, by_name) for entry in given)
    images = [topic for topic in topics if topic.type_name in (IMAGE, COMPRESSED) and topic.count]
    others = [topic.name for topic in images if any(word in topic.name.lower() for word in NOT_PICTURES)]
    images = [topic for topic in images if topic.name not in others]
    if others and not images:
        raise DataError(
            f"the bag has no pictures of cameras, only {', '.join(others)} (depth, masks and the like); record the "
            "colour images, or name one of these with --camera NAME=TOPIC if it is a picture"
        )
    if not images:
        raise DataError(
            f"the bag has no image topics (sensor_msgs/Image or CompressedImage); it has: {', '.join(by_name)}"
        )
    groups: dict[str, list[Topic]] = {}
    for topic in images:
        groups.setdefault(_info_of(topic.name, topics) or _stem(topic.name), []).append(topic)
    chosen = {key: min(group, key=_preference) for key, group in groups.items()}
    names = _short_names([_stem(topic.name) for topic in chosen.values()])
    return tuple(
        CameraTopics(
            name, topic.name, topic.type_name, _info_of(topic.name, topics), rectified=is_rectified_topic(topic.name)
        )
        for name, topic in zip(names, chosen.values(), strict=True)
    )


def find_cloud(topics: Sequence[Topic], given: str = "") -> str:
    """The cloud to compare images with: the one given, else the one whose name says lidar, else the first; '' if none.

    Raises DataError if the one given is not in the bag.
    """
    clouds = [topic for topic in topics if topic.type_name == CLOUD and topic.count]
    if given:
        if given not in {topic.name for topic in clouds}:
            names = ", ".join(topic.name for topic in clouds) or "no cloud at all"
            raise DataError(f"the bag has no messages of sensor_msgs/PointCloud2 on {given}; it has: {names}")
        return given
    lidars = [topic.name for topic in clouds if "lidar" in topic.name.lower()]
    return (lidars + [topic.name for topic in clouds] + [""])[0]


def find_transforms(topics: Sequence[Topic], images: Sequence[str]) -> TransformTopics:
    """The topics of transforms: /tf and /tf_static, or those in a robot's namespace (/robot1/tf).

    Of several robots in one bag only the one whose namespace holds the `images` counts: frames of both may be called
    base_link.
    """
    names = [topic.name for topic in topics if topic.type_name == TRANSFORMS and topic.count]
    robots = {name: name.rsplit("/", 1)[0] for name in names if name.endswith((MOVING, FIXED))}
    namespaces = list(dict.fromkeys(robots.values()))
    holding = [space for space in namespaces if all(image.startswith(space + "/") for image in images)]
    chosen = max(holding or namespaces[:1], key=len, default="")
    used = [name for name, space in robots.items() if space in ("", chosen)]
    problems = []
    if left := [name for name in names if name not in used]:
        problems.append(f"the transforms on {', '.join(left)} are left out: cameras are placed by {' and '.join(used)}")
    return TransformTopics(
        tuple(name for name in used if name.endswith(MOVING)),
        tuple(name for name in used if name.endswith(FIXED)),
        tuple(problems),
    )


def _given_camera(entry: str, topics: dict[str, Topic]) -> CameraTopics:
    name, _, rest = entry.partition("=")
    image, _, info = rest.partition(",")
    if not name or not image:
        raise DataError(f"camera '{entry}' is not of the form NAME=IMAGE_TOPIC or NAME=IMAGE_TOPIC,INFO_TOPIC")
    for topic in filter(None, (image, info)):
        if topic not in topics:
            raise DataError(f"camera '{name}': the bag has no topic {topic}; it has: {', '.join(topics)}")
    if topics[image].type_name not in (IMAGE, COMPRESSED):
        raise DataError(f"camera '{name}': {image} is {topics[image].type_name}, not an image")
    info = info or _info_of(image, list(topics.values()))
    return CameraTopics(name, image, topics[image].type_name, info, rectified=is_rectified_topic(image))


def _info_of(image: str, topics: Sequence[Topic]) -> str:
    """The CameraInfo topic whose namespace is the longest that holds the image topic, or ''.

    One without a namespace belongs to an image without one only: it must not serve all cameras of a bag.
    """
    infos = [topic.name for topic in topics if topic.type_name == CAMERA_INFO]
    above = [info for info in infos if info.count("/") > 1 and image.startswith(info.rsplit("/", 1)[0] + "/")]
    parts = image.strip("/").split("/")
    if len(parts) == 1 or (len(parts) == 2 and parts[1] in TRANSPORTS):
        above += [info for info in infos if info.count("/") <= 1]
    return max(above, key=len, default="")


def _stem(image: str) -> str:
    """An image topic's name without the parts that only say that it is an image."""
    parts = image.strip("/").split("/")
    while len(parts) > 1 and set(parts[-1].lower().split("_")) <= set(IMAGE_WORDS):
        parts.pop()
    return "/".join(parts)


def _short_names(stems: Sequence[str]) -> list[str]:
    """Stems without the leading and trailing parts that all of them share."""
    split = [stem.split("/") for stem in stems]
    while len(split) > 1 and min(map(len, split)) > 1 and len({parts[0] for parts in split}) == 1:
        split = [parts[1:] for parts in split]
    while len(split) > 1 and min(map(len, split)) > 1 and len({parts[-1] for parts in split}) == 1:
        split = [parts[:-1] for parts in split]
    return ["/".join(parts) for parts in split]


def _preference(topic: Topic) -> tuple[bool, bool, str]:
    return is_rectified_topic(topic.name), topic.type_name != COMPRESSED, topic.name
