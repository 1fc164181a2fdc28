"""`kd view` over bags, results and data sets, in this process; files are read back."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from support.edit_bag import edit_bag
from support.fake_student import write_fake_student
from support.nuscenes_tables import SCENES, VERSION, write_dataset

from kd_bench.view import view
from kd_perception.bags.messages import make
from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.bags.writer import BagWriter
from kd_perception.datasets.nuscenes import open_nuscenes, scene_samples
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.ground_truth import ground_truth_results
from kd_perception.evaluation.results import write_results
from kd_perception.resources import resource
from kd_perception.viewer.viewer_source import FrameChoice, open_source


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """data, results.json of its first scene without the first box of each sample, bag of that scene, fake.onnx."""
    out = tmp_path_factory.mktemp("view")
    nusc = open_nuscenes(write_dataset(out / "data"), VERSION)
    results = ground_truth_results(nusc, SCENES[:1])
    for rows in results.values():
        del rows[0]
    write_results(out / "results.json", results)
    write_scene(nusc, SCENES[0], out / "bag")
    write_fake_student(out / "fake.onnx")
    return out


def entities(path: Path) -> dict[str, list[int]]:
    """Boxes in each scene update, by topic."""
    found: dict[str, list[int]] = {}
    with open(path, "rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for schema, channel, _, decoded in reader.iter_decoded_messages():
            if schema.name == "foxglove.SceneUpdate":
                found.setdefault(channel.topic, []).append(len(decoded.entities))
    return found


def topics(path: Path) -> Counter[str]:
    with open(path, "rb") as stream:
        return Counter(channel.topic for _, channel, _ in make_reader(stream).iter_messages())


def test_results_show_what_was_missed(folder: Path, tmp_path: Path, capsys) -> None:
    view(path=folder / "results.json", dataroot=folder / "data", save=tmp_path / "a.mcap")
    assert entities(tmp_path / "a.mcap") == {
        "/ground_truth": [6] * 3, "/predictions": [5] * 3, "/faults": [1] * 3,
    }  # fmt: skip
    assert topics(tmp_path / "a.mcap")["/CAM_FRONT/image"] == 3
    assert "3 frames of" in capsys.readouterr().err


def test_a_data_set_shows_the_heatmaps_of_student_and_teacher(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun is not installed: requirements/viewer.txt")
    from rerun.dataframe import load_recording

    view(
        path=folder / "data",
        scenes=[SCENES[1]],
        student=folder / "fake.onnx",
        teacher=resource("models/centerpoint_demo.safetensors"),
        frames=2,
        save=tmp_path / "a.rrd",
    )
    shown = load_recording(tmp_path / "a.rrd").view(index="frame", contents="/**")
    names = shown.select().read_all().column_names
    for name in ("student", "teacher"):
        assert f"/heatmaps/{name}:ImageBuffer" in names
    assert shown.select("frame").read_all()["frame"].to_pylist() == [0, 1]
    assert "/scene/predictions:HalfSize3D" in names  # the student's


@pytest.mark.ros
def test_a_bag_shows_its_sensors_and_with_its_data_set_what_a_student_misses(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sensor_msgs", reason="ROS messages are not installed: bags of robots are not read")
    view(path=folder / "bag", save=tmp_path / "a.mcap")
    assert entities(tmp_path / "a.mcap") == {}
    counts = topics(tmp_path / "a.mcap")
    assert counts["/CAM_BACK/image"] == counts["/lidar/points"] == counts["/tf"] == 3
    view(path=folder / "bag", dataroot=folder / "data", student=folder / "fake.onnx", save=tmp_path / "b.mcap")
    found = entities(tmp_path / "b.mcap")
    assert found["/ground_truth"] == [6] * 3 and all(found["/predictions"]) and len(found["/faults"]) == 3


@pytest.mark.ros
def test_pictures_of_a_bag_that_cannot_be_shown_are_left_out_and_named(folder: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("sensor_msgs", reason="ROS messages are not installed: bags of robots are not read")

    def change(topic: str, message: object) -> tuple[str, object]:
        if topic == "/CAM_BACK/image/compressed":
            message.format = "h264"
        elif topic == "/CAM_FRONT_LEFT/image/compressed":
            message.data = message.data[:20]
        elif topic == "/CAM_FRONT_RIGHT/camera_info":
            message.width, message.height = 2 * message.width, 2 * message.height
        return topic, message

    view(path=edit_bag(folder / "bag", tmp_path / "bag", change), save=tmp_path / "a.mcap")
    shown = {topic for topic in topics(tmp_path / "a.mcap") if topic.endswith("/image")}
    assert shown == {"/CAM_FRONT/image", "/CAM_BACK_LEFT/image", "/CAM_BACK_RIGHT/image"}
    told = capsys.readouterr().err
    assert "a picture on /CAM_BACK/image/compressed is left out: a compressed image has format 'h264'" in told
    assert "image of camera 'CAM_FRONT_LEFT': JPEG image of 20 bytes is truncated" in told
    assert "camera 'CAM_FRONT_RIGHT': its image is 352x128, but its calibration is for 704x256" in told


@pytest.mark.ros
def test_bags_without_anything_to_see_are_refused(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sensor_msgs", reason="ROS messages are not installed: bags of robots are not read")
    with BagWriter(tmp_path / "empty"):
        pass
    with pytest.raises(DataError, match="bag .*empty is empty or damaged from its start"):
        view(path=tmp_path / "empty", save=tmp_path / "a.mcap")
    with BagWriter(tmp_path / "blind") as bag:
        bag.write("/chatter", make("std_msgs/msg/String"), 1)
    with pytest.raises(DataError, match="the bag has no image topics"):
        view(path=tmp_path / "blind", save=tmp_path / "a.mcap")
    other = write_dataset(tmp_path / "other")
    first = scene_samples(open_nuscenes(other, VERSION), SCENES[0])[0]
    for table in (other / VERSION).glob("*.json"):
        table.write_text(table.read_text().replace(first, "f" * 32))
    with pytest.raises(DataError, match="bag .* names sample .* which is not in .*other"):
        view(path=folder / "bag", dataroot=other, save=tmp_path / "a.mcap")
    with pytest.raises(ConfigError, match="no scene has the camera 'roof' that is to be the anchor"):
        view(path=folder / "data", anchor="roof", save=tmp_path / "a.mcap")
    assert not (tmp_path / "a.mcap").exists()


def test_a_frame_is_that_of_the_chosen_anchor(folder: Path) -> None:
    """The time of another camera gives the boxes another ego."""
    first = [next(iter(open_source(folder / "data", anchor=name).frames(FrameChoice()))) for name in ("", "CAM_BACK")]
    assert first[0].stamp_ns != first[1].stamp_ns
    assert not np.allclose(first[0].map_from_ego, first[1].map_from_ego)


def test_what_cannot_be_viewed_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="results.json is a result, which holds no pictures; name .* --dataroot"):
        view(path=folder / "results.json", save=tmp_path / "a.mcap")
    write_results(tmp_path / "foreign.json", {"elsewhere": []})
    with pytest.raises(DataError, match="foreign.json is the result of another data set: 1 of its 1 samples"):
        view(path=tmp_path / "foreign.json", dataroot=folder / "data", save=tmp_path / "a.mcap")
    with pytest.raises(DataError, match="is no bag .* no result folder .* no data set"):
        view(path=tmp_path, save=tmp_path / "a.mcap")
    with pytest.raises(ConfigError, match="must end in .rrd or .mcap"):
        view(path=folder / "data", save=tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match="has no frame of the scenes scene-east"):
        view(path=folder / "results.json", dataroot=folder / "data", scenes=["scene-east"], save=tmp_path / "a.mcap")
    with pytest.raises(ConfigError, match="--teacher needs the sweeps before each keyframe"):
        view(path=folder / "bag", teacher=folder / "fake.onnx", save=tmp_path / "a.mcap")
    with pytest.raises(ConfigError, match="no scene has the camera 'roof' that is to be the anchor"):
        view(path=folder / "data", anchor="roof", save=tmp_path / "a.mcap")
    assert not (tmp_path / "a.mcap").exists()
