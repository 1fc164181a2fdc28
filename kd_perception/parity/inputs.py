"""Which topics of a bag feed the detector, found by type and name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kd_perception.bags.reader import BagReader, Topic
from kd_perception.errors import DataError
from kd_perception.options.detector import DetectorOptions
from kd_perception.rig_check.topics import COMPRESSED, CameraTopics, find_cameras, find_transforms

ODOMETRY = "nav_msgs/msg/Odometry"


@dataclass(frozen=True)
class BagInputs:
    """Topics of a bag; odometry and transform topics are '' where it has none. types: topic -> message type."""

    bag: Path
    cameras: tuple[CameraTopics, ...]
    odometry: str
    moving: str
    static: str
    types: dict[str, str]

    @property
    def topics(self) -> tuple[str, ...]:
        """All of them."""
        of_cameras = [topic for camera in self.cameras for topic in (camera.image, camera.info)]
        return tuple(topic for topic in (*of_cameras, self.odometry, self.moving, self.static) if topic)

    @property
    def compressed(self) -> bool:
        """Whether the cameras publish compressed images."""
        return self.cameras[0].image_type == COMPRESSED

    def names(self) -> tuple[str, ...]:
        """Of the cameras, as the detector gets them."""
        return tuple(camera.name for camera in self.cameras)


def find_inputs(bag: Path, given: Sequence[str], order: Sequence[str]) -> BagInputs:
    """The inputs in a bag; `given` as kd rig check takes --camera, else all cameras, those of `order` first.

    The first camera is the anchor. Raises DataError if there is none, or if both transports are used.
    """
    reader = BagReader(bag)
    topics = reader.topics
    reader.close()
    cameras = [replace(each, name=each.name.replace("/", "_")) for each in find_cameras(topics, given)]
    if not given:
        cameras.sort(key=lambda each: order.index(each.name) if each.name in order else len(order))
    raw = [each.name for each in cameras if each.image_type != COMPRESSED]
    if raw and len(raw) < len(cameras):
        raise DataError(
            f"bag {bag} has raw images of {', '.join(raw)} and compressed ones of other cameras, but a detector takes "
            "one transport: choose cameras with --camera"
        )
    transforms = find_transforms(topics, [each.image for each in cameras])
    return BagInputs(
        bag,
        tuple(cameras),
        _odometry(topics),
        max(transforms.moving, key=len, default=""),  # in the robot's namespace rather than outside
        max(transforms.fixed, key=len, default=""),
        {topic.name: topic.type_name for topic in topics},
    )


def detector_of(inputs: BagInputs, options: DetectorOptions) -> DetectorOptions:
    """The options with the bag's cameras and transport."""
    transport = "compressed" if inputs.compressed else "raw"
    return replace(options, camera_names=inputs.names(), transport=transport)


def _odometry(topics: Sequence[Topic]) -> str:
    """The odometry topic: the one called odom, or any other."""
    found = [topic.name for topic in topics if topic.type_name == ODOMETRY and topic.count]
    named = [topic for topic in found if topic.rsplit("/", 1)[-1] == "odom"]
    return (named + found + [""])[0]
