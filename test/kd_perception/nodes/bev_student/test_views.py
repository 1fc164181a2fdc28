"""The detector with several views of each camera: cameras stay cameras in what it says."""

import numpy as np
from sensor_msgs.msg import CompressedImage
from support.detector import T0, S, bench

from kd_msgs.msg import FrameStatus
from kd_perception.ros.stamps import to_time


def test_views_are_seen_and_cameras_are_named(tmp_path):
    with bench(tmp_path, views_per_camera=2) as b:
        b.rig.shoot(T0)
        assert b.status(T0).outcome == FrameStatus.ANSWERED and not b.status(T0).missing_cameras
        assert len(b.found(T0).detections) >= 1

        for index, publisher in enumerate(b.rig.images):  # the second camera's image is broken, the third's black
            message = b.rig.message(index, T0 + S, np.zeros((256, 704, 3), np.uint8))
            if index == 1:
                message = CompressedImage(format="jpeg", data=b"\xff\xd8 no image")
                message.header.stamp, message.header.frame_id = to_time(T0 + S), b.rig.names[1]
            publisher.publish(message)
        status = b.status(T0 + S)
        assert status.outcome == FrameStatus.ANSWERED and list(status.missing_cameras) == [b.rig.names[1]]
        assert b.rig.names[2] in b.reported(f"camera '{b.rig.names[2]}'").status[0].message
        b.counted("black_images", 1)
