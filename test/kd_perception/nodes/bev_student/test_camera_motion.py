"""The detector with cameras that fire apart on a moving robot: what an early camera saw is put where it stands."""

import numpy as np
import pytest
from support.detector import T0, Bench, S, bench
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import FrameStatus
from kd_perception.geometry.transforms import make_transform
from kd_perception.ros.live import LIVE
from kd_perception.ros.qos import TF

SPEED, EARLY_NS = 40.0, 50_000_000  # m/s, exaggerated so that half a tenth of a second is several cells
CAR = (-5.0, 10.0)  # in base_link when the second camera saw it


def shoot_apart(b: Bench, stamp_ns: int) -> None:
    """The second camera has fired 50 ms before the anchor; it alone sees the car."""
    empty, seen = b.rig.pictures(None), b.rig.pictures(CAR)
    for index, publisher in enumerate(b.rig.images):
        early = index == 1
        message = b.rig.message(index, stamp_ns - EARLY_NS * early, (seen if early else empty)[index])
        publisher.publish(message)


def place(b: Bench, stamp_ns: int) -> np.ndarray:
    """Where the detector has the car at the anchor's time."""
    shoot_apart(b, stamp_ns)
    assert b.status(stamp_ns).outcome == FrameStatus.ANSWERED
    (detection,) = b.found(stamp_ns).detections
    return np.array([detection.pose.position.x, detection.pose.position.y])


def test_an_early_camera_s_object_is_moved_by_the_robot_s_way(tmp_path):
    with bench(tmp_path, camera_motion=True) as b:
        unmoved = place(b, T0)  # nobody knows how the robot moves
        b.counted("camera_motion_unknown", 1)
        assert "taken to have fired together" in b.reported("fired together").status[0].message

        odometry = b.peer.node.create_publisher(TFMessage, "/tf", TF)
        b.peer.until(odometry.get_subscription_count)
        ends = [(T0 + k * S, make_transform(np.eye(3), [SPEED * k, 0.0, 0.0])) for k in (0, 2)]
        odometry.publish(TFMessage(transforms=[LIVE.transform("odom", "base_link", *end) for end in ends]))
        places = []

        def known() -> bool:
            stamp_ns = T0 + S + len(places) * S // 20
            places.append(place(b, stamp_ns))
            return abs(places[-1][0] - unmoved[0]) > 1.0

        b.peer.until(known)
        assert unmoved == pytest.approx(CAR, abs=0.5)
        assert places[-1] - unmoved == pytest.approx([-SPEED * EARLY_NS / S, 0.0], abs=0.5)
