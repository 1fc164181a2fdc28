"""Cameras and clouds by type and name, as common drivers publish them."""

import pytest

from kd_perception.bags.reader import Topic
from kd_perception.errors import DataError
from kd_perception.rig_check.topics import CAMERA_INFO, CLOUD, COMPRESSED, IMAGE, find_cameras, find_cloud


def test_cameras_of_common_drivers():
    found = find_cameras([
        Topic("/sensing/camera/left/camera_info", CAMERA_INFO, 5, False),
        Topic("/sensing/camera/left/image_raw", IMAGE, 5, False),
        Topic("/sensing/camera/left/image_raw/compressed", COMPRESSED, 5, False),
        Topic("/sensing/camera/left/image_rect/compressed", COMPRESSED, 5, False),
        Topic("/sensing/camera/left/depth/image_raw", IMAGE, 5, False),
        Topic("/sensing/camera/right/image_rect_color", IMAGE, 5, False),
        Topic("/sensing/camera/right/camera_info", CAMERA_INFO, 5, False),
        Topic("/sensing/camera/rear/image_raw", IMAGE, 5, False),
        Topic("/sensing/camera/never/image_raw", IMAGE, 0, False),
    ])  # fmt: skip
    assert [(camera.name, camera.image, camera.info) for camera in found] == [
        ("left", "/sensing/camera/left/image_raw/compressed", "/sensing/camera/left/camera_info"),
        ("right", "/sensing/camera/right/image_rect_color", "/sensing/camera/right/camera_info"),
        ("rear", "/sensing/camera/rear/image_raw", ""),
    ]
    assert [camera.rectified for camera in found] == [False, True, False]


def test_the_longest_namespace_owns_an_image():
    found = find_cameras([
        Topic("/cam/color/image_raw", IMAGE, 5, False), Topic("/cam/camera_info", CAMERA_INFO, 5, False),
        Topic("/cam/color/camera_info", CAMERA_INFO, 5, False),
    ])  # fmt: skip
    assert [(camera.name, camera.info) for camera in found] == [("cam", "/cam/color/camera_info")]


def test_clouds_prefer_a_lidar_and_obey():
    two = [Topic("/radar/points", CLOUD, 5, False), Topic("/lidar/points", CLOUD, 5, False)]
    assert find_cloud(two) == "/lidar/points" and find_cloud(two, "/radar/points") == "/radar/points"
    assert find_cloud([]) == ""
    with pytest.raises(DataError, match="no messages of sensor_msgs/PointCloud2 on /x; it has: /radar/points, /lidar"):
        find_cloud(two, "/x")


def test_what_cannot_be_found_is_one_sentence():
    image = [Topic("/a/image", IMAGE, 5, False), Topic("/tf", "tf2_msgs/msg/TFMessage", 5, False)]
    with pytest.raises(DataError, match="no image topics"):
        find_cameras(image[1:])
    with pytest.raises(DataError, match="camera 'a': the bag has no topic /b; it has: /a/image, /tf"):
        find_cameras(image, ["a=/b"])
    with pytest.raises(DataError, match="not of the form NAME=IMAGE_TOPIC"):
        find_cameras(image, ["/a/image"])
    with pytest.raises(DataError, match="/tf is tf2_msgs/msg/TFMessage, not an image"):
        find_cameras(image, ["a=/tf"])
