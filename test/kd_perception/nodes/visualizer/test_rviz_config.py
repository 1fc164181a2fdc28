"""config/rviz/bev_student.rviz: what it names is in RViz's source, and what it turns off stays off.

That its topics exist, with fitting types and QoS, is tested on a running graph: nodes/test_replay_evaluate.py.
"""

from support.rviz_config import CONFIG, DISPLAYS, TYPES, docks

from kd_perception.drawing.style import DRAWN_SCORE
from kd_perception.options.visualizer import VisualizerOptions

COMMON = {"Class", "Name", "Enabled", "Value"}
TOPIC = {"Value", "Depth", "History Policy", "Reliability Policy", "Durability Policy"}
PROPERTIES = {  # of rviz_default_plugins/src/rviz_default_plugins/displays
    "rviz_default_plugins/Grid": {"Reference Frame", "Plane Cell Count", "Cell Size", "Color", "Alpha"},
    "rviz_default_plugins/TF": {"Show Names", "Show Axes", "Show Arrows", "Marker Scale", "Frame Timeout"},
    "rviz_default_plugins/PointCloud2": {
        "Topic", "Style", "Size (Pixels)", "Alpha", "Decay Time", "Position Transformer", "Color Transformer",
        "Axis", "Autocompute Value Bounds",
    },
    "rviz_default_plugins/MarkerArray": {"Topic", "Namespaces"},
    "rviz_default_plugins/Image": {"Topic"},
}  # fmt: skip
TOOLS = {f"rviz_default_plugins/{name}" for name in ("MoveCamera", "Select", "Measure")}


def test_displays_and_their_properties_are_rviz_s():
    names = [display["Name"] for display in DISPLAYS]
    assert len(set(names)) == len(names)
    for display in DISPLAYS:
        assert display["Class"] in TYPES and set(display) <= COMMON | PROPERTIES[display["Class"]], display["Name"]
        assert display["Enabled"] is display["Value"], "RViz reads both"
        if "Topic" in display:
            assert set(display["Topic"]) == TOPIC
    manager = CONFIG["Visualization Manager"]
    assert {tool["Class"] for tool in manager["Tools"]} <= TOOLS
    assert manager["Views"]["Current"]["Class"] == "rviz_default_plugins/Orbit"
    assert manager["Transformation"]["Current"]["Class"] == "rviz_default_plugins/TF"


def test_image_displays_that_are_off_have_hidden_docks():
    """RViz enables every image display whose dock it shows, and shows each that the window's state does not hide."""
    images = {display["Name"]: display["Enabled"] for display in DISPLAYS if display["Class"].endswith("/Image")}
    panels = [panel["Name"] for panel in CONFIG["Panels"]]
    assert docks() == images | dict.fromkeys(panels, True)
    assert [name for name, shown in images.items() if shown] == ["Bird's-eye view", "CAM_FRONT"]


def test_the_view_is_not_buried():
    assert [panel["Class"] for panel in CONFIG["Panels"]] == ["rviz_common/Displays"]
    geometry = CONFIG["Window Geometry"]
    assert geometry["Hide Left Dock"] is geometry["Hide Right Dock"] is False, "RViz has no default for these"


def test_what_rviz_shows_begins_at_the_score_of_the_pictures():
    (shown,) = [display for display in DISPLAYS if display["Name"] == "Detections"]
    assert shown["Enabled"] and shown["Topic"]["Value"] == "/visualizer/output/markers"
    assert VisualizerOptions().score_threshold == DRAWN_SCORE == 0.25
