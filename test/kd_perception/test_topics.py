"""Names of topics: made valid, or refused in a sentence."""

import pytest

from kd_perception.errors import ConfigError
from kd_perception.topics import camera_topics, check_name, sensor_topic


@pytest.mark.parametrize(
    "name, topic",
    [
        ("CAM_FRONT", "CAM_FRONT"),
        ("front left", "front_left"),
        (" front ", "front"),
        ("cam-1", "cam_1"),
        ("cam - 1", "cam_1"),
        ("a__b", "a__b"),
        ("0", "_0"),
        ("2d.camera", "_2d_camera"),
        ("head/left eye", "head/left_eye"),
        ("/shared/0", "/shared/_0"),
        ("größe", "gr_e"),
        ("{name}~", "_name_"),
        ("٣a", "_a"),  # a digit, but none that ROS takes
    ],
)
def test_a_sensors_name_becomes_a_topic_that_ros_takes(name, topic):
    assert sensor_topic(name) == topic
    check_name(topic, "topic")


@pytest.mark.parametrize("name", ["", "/", "a//b", "a/", "--", "_", "相机", "a/-"])
def test_a_name_of_which_nothing_can_stand_is_refused(name):
    with pytest.raises(ConfigError, match=f"^'{name}' cannot name the topics of a sensor; "):
        sensor_topic(name)


def test_topics_of_cameras():
    topics = camera_topics(("front left", "0"), "{name}", "image_raw")
    assert topics == [("front_left/image_raw", "front_left/camera_info"), ("_0/image_raw", "_0/camera_info")]
    assert camera_topics(("相机", "-"), "/rig/cam{i}", "image")[1] == ("/rig/cam1/image", "/rig/cam1/camera_info")
    assert len(camera_topics([f"cam{i}" for i in range(13)], "{name}", "image")) == 13
    assert camera_topics((), "{name}", "image") == []


@pytest.mark.parametrize(
    "names, below, image, sentence",
    [
        (("a", "b", "a"), "{name}", "image", "camera 'a' is named 2 times"),
        (("a", "b", "a"), "cam{i}", "image", "camera 'a' is named 2 times"),
        (
            ("front left", "front-left"),
            "{name}",
            "image",
            "both have the topic front_left/image; rename one",
        ),
        (("front", "/front"), "{name}", "image", "cameras 'front' and '/front' both have the topic /front/image"),
        (("a", "b"), "camera", "image", "cameras 'a' and 'b' both have the topic camera/image"),
        (("a", "b/"), "{name}", "image", "'b/' cannot name the topics of a sensor"),
        (("a",), "{name}", "image raw", "the topic of camera 'a' is 'a/image raw', but must be a name"),
        (("a",), "{nane}", "image", "the topic of camera 'a' is '{nane}/image', but must be a name"),
    ],
)
def test_cameras_without_topics_of_their_own_are_refused(names, below, image, sentence):
    with pytest.raises(ConfigError, match=sentence):
        camera_topics(names, below, image)


@pytest.mark.parametrize("name", ["", "robot1", "/robot1", "fleet/robot_1", "odometry/filtered", "/_1"])
def test_names_as_ros_takes_them(name):
    check_name(name, "namespace")


@pytest.mark.parametrize("name", ["robot-1", "1st", "a//b", "a/", "/", "a b", "~/x", "a/2"])
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match=f"^namespace is '{name}', but must be a name as ROS takes it: letters"):
        check_name(name, "namespace")
