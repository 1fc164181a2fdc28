"""Which held messages belong to a frame that is kept."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from kd_msgs.msg import FrameStatus
from kd_perception.bags.frame_file import RecordedMessage
from kd_perception.continual.held_messages import HeldMessage, HeldMessages
from kd_perception.nodes.hard_sample_recorder.inputs import DetectorTopics, RecorderTopics
from kd_perception.options.recorder import RecorderOptions

AROUND_NS = 100_000_000  # transforms and odometry this long before the first measurement and after the last
EXACT_NS = 2_000_000  # FrameStatus gives an image's age in ms, as float64
NEAR_NS = 60_000_000  # of an image from its time, as the detector has it by default
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class PairedAnswers:
    """What both sides answered: the teacher's detections, the student's nearest to them, and that frame's status."""

    teacher: HeldMessage
    student: HeldMessage
    status: FrameStatus

    @property
    def stamp_ns(self) -> int:
        """The frame's time: the exposure of the student's anchor image."""
        return self.student.stamp_ns


class FrameMessages:
    """Finds the messages of a frame among those that are held."""

    def __init__(
        self,
        held: HeldMessages,
        topics: RecorderTopics,
        settings: RecorderOptions,
        static: Callable[[], Iterable[RecordedMessage]],
    ) -> None:
        """`static`: all messages of tf_static so far."""
        self._held, self._topics, self._settings, self._static = held, topics, settings, static

    def images(self, pair: PairedAnswers) -> list[HeldMessage | None]:
        """The image of each camera that the student used, None for a camera that it masked or that is not held."""
        ages = dict(zip(pair.status.camera_names, pair.status.camera_age_ms, strict=False))
        found = []
        for name, camera in zip(self._settings.camera_names, self._topics.cameras, strict=True):
            age_ms = ages.get(name, math.nan)
            if name in pair.status.missing_cameras:
                found.append(None)
            elif math.isfinite(age_ms):
                found.append(self._held.nearest(camera.image, pair.stamp_ns - round(age_ms * 1e6), EXACT_NS))
            else:
                found.append(self._held.nearest(camera.image, pair.stamp_ns, NEAR_NS))
        return found

    def infos(self, pair: PairedAnswers) -> list[HeldMessage | None]:
        """The CameraInfo of each camera that holds at the frame's time: that of its image, or the last one before."""
        topics = [camera.camera_info for camera in self._topics.cameras]
        return [
            self._held.nearest(topic, pair.stamp_ns, NEAR_NS) or self._held.last_before(topic, pair.stamp_ns)
            for topic in topics
        ]

    def clouds(self, topic: str, pair: PairedAnswers) -> list[HeldMessage]:
        """A LiDAR's clouds of the teacher's window and up to the frame."""
        times = (pair.teacher.stamp_ns, pair.stamp_ns)
        return self._held.between(topic, min(times) - self._window_ns, max(times) + NEAR_NS)

    def odometry(self, first_ns: int, last_ns: int) -> list[HeldMessage]:
        """Messages of the odometry topic around a span."""
        return self._held.between(self._topics.odometry, first_ns - AROUND_NS, last_ns + AROUND_NS)

    def gather(self, pair: PairedAnswers) -> list[RecordedMessage]:
        """All messages of the frame. Their recording times end with the sensors': an answer that came later is filed at
        their end, so that one frame's file is over before the next begins."""
        topics = self._topics
        measured = [image for image in self.images(pair) if image is not None]
        if self._settings.memory_interval_s:
            earlier_ns = pair.stamp_ns - round(self._settings.memory_interval_s * SECOND_NS)
            images = (self._held.nearest(camera.image, earlier_ns, NEAR_NS) for camera in topics.cameras)
            measured += [image for image in images if image is not None]
        for topic in topics.clouds:
            measured += self.clouds(topic, pair)
        times = [pair.stamp_ns, pair.teacher.stamp_ns, *(entry.stamp_ns for entry in measured)]
        first_ns, last_ns = min(times), max(times)
        measured += self._held.between(topics.tf, first_ns - AROUND_NS, last_ns + AROUND_NS)
        measured += self.odometry(first_ns, last_ns)
        infos = [info for info in self.infos(pair) if info is not None]
        unique = {(entry.message.topic, entry.stamp_ns, entry.message.received_ns): entry.message for entry in measured}
        return _filed(
            list(unique.values()),
            [*self._static(), *(info.message for info in infos)],
            [*self._answers(topics.student, pair.student), *self._answers(topics.teacher, pair.teacher)],
        )

    @property
    def _window_ns(self) -> int:
        return round(self._settings.cloud_window_s * SECOND_NS)

    def _answers(self, topics: DetectorTopics, objects: HeldMessage) -> list[RecordedMessage]:
        """A side's detections and their status."""
        statuses = self._held.between(topics.status, objects.stamp_ns, objects.stamp_ns)
        return [objects.message, *(status.message for status in statuses[-1:])]


def _filed(
    measured: Sequence[RecordedMessage], known: Sequence[RecordedMessage], answers: Sequence[RecordedMessage]
) -> list[RecordedMessage]:
    """The messages with recording times inside those of `measured`: what was known before comes first."""
    times = [message.received_ns for message in (*measured, *(answers if not measured else ()))]
    first_ns, last_ns = min(times), max(times)

    def filed(message: RecordedMessage) -> RecordedMessage:
        return replace(message, received_ns=min(max(message.received_ns, first_ns), last_ns))

    return [*(replace(message, received_ns=first_ns) for message in known), *measured, *map(filed, answers)]
