"""What the detector publishes: boxes in the chosen messages, markers, FrameStatus, latency topics as Autoware's."""

import math
import threading
import time
from collections.abc import Mapping, Sequence

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64, Header
from visualization_msgs.msg import MarkerArray

from kd_msgs.msg import FrameStatus
from kd_perception.messages.detections import DetectionFormat, Detections
from kd_perception.messages.markers import MarkerFrame
from kd_perception.nodes.common.clocks import latency_ms
from kd_perception.ros.listeners import has_listeners
from kd_perception.ros.live import LIVE
from kd_perception.ros.message_types import message_class
from kd_perception.ros.outcomes import NUMBERS
from kd_perception.ros.publishing import publish
from kd_perception.ros.qos import EVERY_RESULT, RESULT
from kd_perception.ros.stamps import to_time
from kd_perception.runtime.frame import FrameRecord, Outcome

PROCESSING_TOPICS = {"preprocess": "preprocess", "inference": "inference", "decode": "postprocess", "total": "total"}
OBJECTS = {"kd": "objects"}  # what the option `wait_for_subscribers` calls them; the others as their format


class Outputs:
    """The detector's publishers. Thread-safe: callbacks report dropped frames while a stage reports others.

    model: id of the model to which frames are due that state none, as no stage has begun them.
    """

    def __init__(
        self,
        node: LifecycleNode,
        formats: Mapping[str, DetectionFormat],
        *,
        frame_id: str,
        camera_names: Sequence[str],
        model: str,
    ) -> None:
        self._node = node
        self._frame_id = frame_id
        self._camera_names = list(camera_names)
        self.model = model
        self._lock = threading.Lock()
        self._received = self._answered = 0
        self._last_answer_s: float | None = None
        self._objects = [
            (kind, node.create_lifecycle_publisher(message_class(kind.type_name), kind.topic, RESULT))
            for kind in formats.values()
        ]
        self._markers = node.create_lifecycle_publisher(MarkerArray, "~/output/markers", RESULT)
        self._status = node.create_lifecycle_publisher(FrameStatus, "~/output/status", EVERY_RESULT)
        objects = {OBJECTS.get(name, name): entry[1] for name, entry in zip(formats, self._objects, strict=True)}
        self.named = {**objects, "markers": self._markers, "status": self._status}
        debug = (
            "cyclic_time_ms",
            "pipeline_latency_ms",
            *(f"processing_time/{name}_ms" for name in PROCESSING_TOPICS.values()),
        )
        self._debug = {name: node.create_lifecycle_publisher(Float64, f"~/debug/{name}", RESULT) for name in debug}

    def wanted(self) -> bool:
        """Whether anybody listens to a result."""
        return any(has_listeners(self._node, publisher) for publisher in self.named.values())

    def restart(self) -> None:
        """Frames are counted from here."""
        self._received = self._answered = 0
        self._last_answer_s = None

    def boxes(self, record: FrameRecord) -> None:
        """Publish what was found, in each chosen format that somebody listens to."""
        boxes, stamp_ns = record.boxes, record.stamp_ns
        found = Detections(boxes, stamp_ns, self._frame_id, record.model or self.model)
        for kind, publisher in self._objects:
            if has_listeners(self._node, publisher):
                publish(self._node, publisher, kind.build(LIVE, found))
        if has_listeners(self._node, self._markers):
            publish(self._node, self._markers, MarkerFrame(LIVE, self._frame_id, stamp_ns).detections(boxes))

    def status(self, record: FrameRecord) -> None:
        """Publish what became of a frame; after its boxes."""
        ages_ns = record.ages_ns or [None] * len(self._camera_names)
        with self._lock:
            self._received += 1
            self._answered += record.outcome is Outcome.ANSWERED
            publish(
                self._node,
                self._status,
                FrameStatus(
                    header=Header(stamp=to_time(record.stamp_ns), frame_id=self._frame_id),
                    outcome=NUMBERS[record.outcome],
                    reason=record.reason,
                    stage_names=list(record.stage_ms),
                    stage_ms=list(record.stage_ms.values()),
                    camera_names=self._camera_names,
                    camera_age_ms=[math.nan if age is None else age / 1e6 for age in ages_ns],
                    missing_cameras=[name for name in self._camera_names if name in record.masked],
                    memory_state=record.memory_state,
                    reset_reason=record.reset_reason,
                    frames_received=self._received,
                    frames_answered=self._answered,
                    frames_dropped=self._received - self._answered,
                    model=record.model or self.model,
                    engine=record.engine,
                ),
            )

    def latency(self, record: FrameRecord) -> None:
        """Publish the latency topics of a processed frame, in milliseconds, as far as its stamp is of our clock."""
        now_s = time.monotonic()
        if self._last_answer_s is not None:
            publish(self._node, self._debug["cyclic_time_ms"], Float64(data=1e3 * (now_s - self._last_answer_s)))
        self._last_answer_s = now_s
        since_exposure_ms = latency_ms(self._node.get_clock().now().nanoseconds, record.stamp_ns)
        if since_exposure_ms is not None:
            publish(self._node, self._debug["pipeline_latency_ms"], Float64(data=since_exposure_ms))
        for stage, name in PROCESSING_TOPICS.items():
            publish(self._node, self._debug[f"processing_time/{name}_ms"], Float64(data=record.stage_ms[stage]))

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in (*self.named.values(), *self._debug.values()):
            self._node.destroy_lifecycle_publisher(publisher)
