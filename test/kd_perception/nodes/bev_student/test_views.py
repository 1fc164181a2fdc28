"""The detector with several views of each camera, and with rectified images."""

import numpy as np
from sensor_msgs.msg import CompressedImage
from support.detector import T0, S, bench
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import FrameStatus
from kd_perception.ros.live import LIVE
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


def test_rectified_images_are_read_by_p_alone(tmp_path):
    """The painted pictures have no lens; K and D are of a raw picture that the detector never sees."""
    with bench(tmp_path, calibrate=False, rectified=("true",)) as b:
        b.rig.tf.publish(TFMessage(transforms=b.rig.transforms()))
        for camera, publisher in zip(b.rig.cameras, b.rig.infos, strict=True):
            message = LIVE.camera_info(camera, camera.name)  # P is the camera's own
            message.k, message.d = [350.0, 0.0, 300.0, 0.0, 350.0, 140.0, 0.0, 0.0, 1.0], [-0.3, 0.1, 0.0, 0.0, 0.0]
            publisher.publish(message)
        b.shoot_until(lambda status: status.outcome == FrameStatus.ANSWERED and not status.missing_cameras)
        (car,) = b.found(b.now_ns).detections
        assert np.hypot(car.pose.position.x - 12.0, car.pose.position.y - 1.0) < 1.5
