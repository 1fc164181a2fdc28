"""The preset `autoware`: the topics of Autoware's camera-only launch, unless a user says otherwise."""

from dataclasses import replace

import pytest

from kd_perception.bringup.graph import BEV_STUDENT_ARGUMENTS, REPLAY_EVALUATE_ARGUMENTS, bev_student_graph
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.ros.camera_topics import camera_topics
from kd_perception.ros.rectified import rectified_cameras

CAMERAS = ("camera_names", "camera_topics", "image_topic", "transport")
OBJECTS = "/perception/object_recognition/detection/camera_only/objects"


def autoware(*, visualize: bool = False, **detector):
    """The nodes of the preset, by name."""
    graph = bev_student_graph(DetectorOptions(**detector), GraphOptions(preset="autoware", visualize=visualize))
    return {node.name: node for node in graph.nodes}


def image_topics(node):
    """Where a node's cameras publish."""
    given = replace(DetectorOptions(), **{n: node.parameters[n] for n in CAMERAS if n in node.parameters})
    return [camera.image for camera in camera_topics(given, lambda name: name)]


def test_topics_frames_and_messages_are_autoware_s():
    student = autoware()["bev_student"]
    topics, images = dict(student.remappings), image_topics(student)
    assert topics["~/output/autoware/objects"] == OBJECTS
    assert topics["~/input/odometry"] == "/localization/kinematic_state"
    assert images == [f"/sensing/camera/camera{i}/image_rect_color/compressed" for i in range(6)]
    assert student.parameters["output_messages"] == ("kd", "autoware")
    assert student.parameters["odometry_frame"] == "map" and "base_frame" not in student.parameters  # base_link
    assert all(rectified_cameras(("auto",), images))


def test_what_a_user_gives_goes_before_the_preset():
    student = autoware(
        camera_names=("front", "left"), transport="raw", output_messages=("autoware",), odometry_frame="local_map"
    )["bev_student"]
    assert image_topics(student) == [f"/sensing/camera/{name}/image_rect_color" for name in ("front", "left")]
    assert student.parameters["output_messages"] == ("autoware",)
    assert student.parameters["odometry_frame"] == "local_map"
    assert image_topics(autoware(image_topic="image_raw")["bev_student"])[1].endswith("camera1/image_raw/compressed")


def test_the_visualizer_reads_the_same_cameras_and_our_own_boxes():
    nodes = autoware(visualize=True, output_messages=("autoware",))
    assert nodes["bev_student"].parameters["output_messages"] == ("kd", "autoware")
    assert image_topics(nodes["visualizer"]) == image_topics(nodes["bev_student"])
    assert dict(nodes["visualizer"].remappings)["~/input/points"] == "/sensing/lidar/concatenated/pointcloud"


def test_without_it_nothing_changes():
    student = bev_student_graph(DetectorOptions(), GraphOptions()).nodes[0]
    assert OBJECTS not in dict(student.remappings).values()
    assert student.parameters["output_messages"] == ("kd",)


@pytest.mark.parametrize("offered, expected", [(BEV_STUDENT_ARGUMENTS, True), (REPLAY_EVALUATE_ARGUMENTS, False)])
def test_it_is_an_argument_where_cameras_are_live(offered, expected):
    assert expected == any(option.argument == "preset" for part in offered for option in part.options)
