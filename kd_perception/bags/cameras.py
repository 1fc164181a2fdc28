"""Which cameras a bag of `kd bag` holds, anchor first: what `kd up replay_evaluate` runs on."""

from collections import defaultdict
from pathlib import Path

from kd_perception.bags.messages import typestore
from kd_perception.bags.reader import BagReader

IMAGE = "image/compressed"
IMAGE_TYPE, SAMPLE_TYPE = "sensor_msgs/msg/CompressedImage", "kd_msgs/msg/Sample"


def bag_cameras(bag: Path) -> tuple[str, ...]:
    """Names of the cameras with a topic /<name>/image/compressed, the anchor first; none without a Sample.

    The anchor is the camera whose exposure has the stamp of the first Sample. Raises DataError if the bag cannot be
    read.
    """
    reader = BagReader(bag)
    try:
        names = {
            topic.name: topic.name.strip("/").removesuffix(f"/{IMAGE}")
            for topic in reader.topics
            if topic.type_name == IMAGE_TYPE and topic.name.endswith(f"/{IMAGE}")
        }
        samples = {topic.name for topic in reader.topics if topic.type_name == SAMPLE_TYPE}
        exposures: dict[int, list[str]] = defaultdict(list)
        for topic, _, cdr in reader.messages() if samples else ():
            if topic in names:
                exposures[_stamp_ns(cdr, IMAGE_TYPE)].append(names[topic])
            elif topic in samples:
                candidates = exposures[_stamp_ns(cdr, SAMPLE_TYPE)]
                return tuple(dict.fromkeys((*candidates[:1], *names.values())))
        return ()
    finally:
        reader.close()


def _stamp_ns(cdr: bytes, type_name: str) -> int:
    stamp = typestore().deserialize_cdr(cdr, type_name).header.stamp
    return stamp.sec * 10**9 + stamp.nanosec
