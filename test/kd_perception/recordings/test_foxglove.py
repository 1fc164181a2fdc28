"""What is written for Foxglove is read back with its published schemas."""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import Message
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from support.viewed import STAMP_NS, cameras, viewed_frame

from kd_perception.drawing.cameras import EDGES
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import make_transform
from kd_perception.recordings.foxglove import foxglove_recording
from kd_perception.recordings.viewed_frame import ViewedFrame

Messages = dict[str, list[tuple[int, Message]]]


def read(path: Path) -> Messages:
    """Decoded messages by topic, with their times, by the schemas that the file itself carries."""
    found: Messages = {}
    with open(path, "rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for schema, channel, message, decoded in reader.iter_decoded_messages():
            assert (schema.encoding, channel.message_encoding) == ("protobuf", "protobuf")
            assert schema.name == decoded.DESCRIPTOR.full_name and schema.name.startswith("foxglove.")
            found.setdefault(channel.topic, []).append((message.log_time, decoded))
    return found


def write(path: Path, *frames: ViewedFrame) -> Messages:
    with foxglove_recording(path) as recording:
        for frame in frames:
            recording.write(frame)
    return read(path)


@pytest.fixture(scope="module")
def messages(tmp_path_factory) -> Messages:
    return write(tmp_path_factory.mktemp("foxglove") / "a.mcap", viewed_frame(0), viewed_frame(1, wrong=2))


def matrix(position: Message, orientation: Message) -> np.ndarray:
    quaternion = np.array([orientation.w, orientation.x, orientation.y, orientation.z])
    return make_transform(quaternion, [position.x, position.y, position.z])


def cube_corners(cube: Message) -> np.ndarray:
    """Corners (8, 3) of a cube of whole sizes, in the order of Boxes.corners."""
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
    unit = np.array([(x, y, z) for z in (-1, 1) for x, y in signs]) / 2.0
    pose = matrix(cube.pose.position, cube.pose.orientation)
    return unit * [cube.size.x, cube.size.y, cube.size.z] @ pose[:3, :3].T + pose[:3, 3]


def test_each_update_replaces_the_one_before_and_has_an_entity_for_each_box(messages: Messages) -> None:
    counts = {
        topic: [len(update.entities) for _, update in messages[topic]]
        for topic in ("/ground_truth", "/predictions", "/faults")
    }
    assert counts == {"/ground_truth": [2, 2], "/predictions": [2, 3], "/faults": [2, 3]}
    for topic in counts:
        for time, update in messages[topic]:
            (deletion,) = update.deletions
            assert deletion.type == 1  # ALL
            assert len({entity.id for entity in update.entities}) == len(update.entities)
            assert {(entity.frame_id, entity.timestamp.ToNanoseconds()) for entity in update.entities} == {
                ("base_link", time)
            }
    assert [time for time, _ in messages["/predictions"]] == [STAMP_NS, STAMP_NS + 500_000_000]


def test_corners_of_cubes_and_outlines_are_those_of_the_boxes(messages: Messages) -> None:
    frame = viewed_frame(1, wrong=2)
    for entity, corners in zip(messages["/predictions"][1][1].entities, frame.predictions.corners(), strict=True):
        np.testing.assert_allclose(cube_corners(entity.cubes[0]), corners, atol=1e-5)
    for entity, corners in zip(messages["/ground_truth"][1][1].entities, frame.ground_truth.corners(), strict=True):
        (lines,) = entity.lines
        assert lines.type == 2 and not entity.cubes  # LINE_LIST: an outline has no fill
        drawn = np.array([(point.x, point.y, point.z) for point in lines.points])
        np.testing.assert_allclose(drawn, corners[np.array(EDGES).ravel()], atol=1e-5)


def test_a_fault_says_why_in_its_metadata(messages: Messages) -> None:
    missed, false = messages["/faults"][0][1].entities
    assert {entry.key: entry.value for entry in missed.metadata} == {
        "class": "car", "fault": "missed", "reason": "car at x -9.0 m, y 5.0 m was missed: nobody looked",
    }  # fmt: skip
    assert {entry.key: entry.value for entry in false.metadata}["reason"] == "false number 0"


def test_pictures_calibration_cloud_and_tf_show_the_scene(messages: Messages) -> None:
    ahead, fisheye = cameras()
    for camera, model in ((ahead, "plumb_bob"), (fisheye, "kannala_brandt")):
        calibration = messages[f"/{camera.name}/calibration"][0][1]
        assert (calibration.frame_id, calibration.width, calibration.height) == (camera.name, 64, 48)
        assert calibration.distortion_model == model
        np.testing.assert_allclose(
            np.array(calibration.K).reshape(3, 3), camera.integer_centred_intrinsics(), atol=1e-9
        )
        picture = messages[f"/{camera.name}/image"][0][1]
        assert (picture.frame_id, picture.format) == (camera.name, "jpeg")
        assert picture.data == viewed_frame().images[0].data
    assert list(messages["/left/calibration"][0][1].D) == [0.01, 0.0, 0.0, 0.0]
    cloud = messages["/lidar/points"][0][1]
    assert cloud.point_stride == 12 and [(field.name, field.offset) for field in cloud.fields] == [
        ("x", 0), ("y", 4), ("z", 8),
    ]  # fmt: skip
    np.testing.assert_array_equal(np.frombuffer(cloud.data, "<f4").reshape(-1, 3), viewed_frame().cloud)
    transforms = {
        (entry.parent_frame_id, entry.child_frame_id): matrix(entry.translation, entry.rotation)
        for entry in messages["/tf"][0][1].transforms
    }
    assert set(transforms) == {("base_link", "ahead"), ("base_link", "left"), ("map", "base_link")}
    np.testing.assert_allclose(transforms["map", "base_link"], viewed_frame().map_from_ego, atol=1e-9)
    np.testing.assert_allclose(transforms["base_link", "left"], fisheye.ego_from_camera, atol=1e-9)


def test_what_is_not_known_has_no_topic(tmp_path: Path) -> None:
    frame = ViewedFrame("bare", STAMP_NS, (), predictions=Boxes.empty())
    found = write(tmp_path / "bare.mcap", frame)
    assert set(found) == {"/tf", "/predictions"} and not found["/predictions"][0][1].entities


def test_a_recording_that_was_interrupted_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), foxglove_recording(tmp_path / "a.mcap") as recording:
        recording.write(viewed_frame())
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
