"""Bags as data sets: what `kd bag` writes of a made rig of four cameras comes back, and what does not fit is named."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.edit_bag import edit_bag
from support.labels_of_tables import write_labels
from support.nuscenes_tables import SCENES, four_and_seven, write_dataset
from support.nuscenes_tables import VERSION as PAINTED
from typer.testing import CliRunner

from kd_perception.bags.messages import POINT_DTYPE
from kd_perception.bags.nuscenes_bag import BagOptions, write_scene
from kd_perception.datasets.nuscenes import (
    ground_truth_boxes,
    load_frame,
    open_nuscenes,
    read_lidar,
    scene_names,
    scene_samples,
    sensor_transform,
)
from kd_perception.datasets.timeline import camera_timelines
from kd_perception.datasets.versions import BAG_VERSION
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.transforms import apply
from kd_perception.imports.bag import BagImport, import_bag
from kd_perception.imports.bag_labels import read_bag_labels
from kd_perception.imports.command import app

SCENE = SCENES[0]
LIDAR = "lidar_right"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bag")
    source = write_dataset(folder / "source", rigs=four_and_seven())
    nusc = open_nuscenes(source, PAINTED)
    write_scene(nusc, SCENE, folder / "drive", BagOptions("mcap"))
    labels = write_labels(source, PAINTED, SCENE, folder / "labels.json")
    wanted = BagImport(folder / "drive", folder / "out", read_bag_labels(labels), cloud=f"/{LIDAR}/points")
    written = import_bag(wanted)
    return SimpleNamespace(
        source=nusc, nusc=open_nuscenes(folder / "out", BAG_VERSION), folder=folder, labels=labels, written=written
    )


def pairs(made):
    """Frames of the source and of what was imported."""
    ours = [load_frame(made.nusc, token) for token in scene_samples(made.nusc, "drive")]
    theirs = [load_frame(made.source, token) for token in scene_samples(made.source, SCENE)]
    return list(zip(theirs, ours, strict=True))


def test_cameras_pictures_and_times_come_back(made):
    assert (made.written.keyframes, scene_names(made.nusc)) == (3, ["drive"])
    for before, after in pairs(made):
        # odom of the bag begins where the robot does
        assert after.timestamp_us == before.timestamp_us
        assert [image.camera.name for image in after.images] == ["front", "right", "rear", "left"]
        for first, second in zip(before.images, after.images, strict=True):
            assert second.read() == first.read()
            assert (second.camera.width, second.camera.height) == (first.camera.width, first.camera.height)
            np.testing.assert_allclose(second.camera.intrinsics, first.camera.intrinsics)
            np.testing.assert_allclose(second.camera.ego_from_camera, first.camera.ego_from_camera, atol=1e-9)


def test_boxes_and_their_velocities_come_back(made):
    for before, after in pairs(made):
        first, _ = ground_truth_boxes(made.source, before.sample_token, before.global_from_ego)
        second, points = ground_truth_boxes(made.nusc, after.sample_token, after.global_from_ego)
        np.testing.assert_allclose(second.center, first.center, atol=1e-6)
        np.testing.assert_allclose(second.size, first.size)
        np.testing.assert_allclose(np.cos(second.yaw - first.yaw), 1.0, atol=1e-3)
        np.testing.assert_allclose(second.velocity, first.velocity, atol=0.05)
        assert (points >= 0).all()


def test_clouds_come_back_with_their_mounting_and_the_others_are_named(made):
    for before, after in pairs(made):
        (lidar,) = made.nusc.rig_of(after.sample_token).lidar_rows(made.nusc, after.sample_token)
        source = next(
            row
            for row in made.source.rig_of(before.sample_token).lidar_rows(made.source, before.sample_token)
            if row["channel"] == LIDAR
        )
        assert (lidar["channel"], lidar["timestamp"]) == (LIDAR, source["timestamp"])
        np.testing.assert_allclose(read_lidar(made.nusc, lidar), read_lidar(made.source, source), rtol=1e-6)
        np.testing.assert_allclose(sensor_transform(made.nusc, lidar), sensor_transform(made.source, source), atol=1e-9)
    assert any("/lidar_left/points" in problem for problem in made.written.problems)


def test_what_lies_between_keyframes_is_kept(made):
    timeline = camera_timelines(made.nusc, ["drive"])["drive"]
    theirs = camera_timelines(made.source, [SCENE])[SCENE]
    np.testing.assert_array_equal(timeline.stamps_us, theirs.stamps_us)
    np.testing.assert_array_equal(timeline.is_keyframe, theirs.is_keyframe)


def test_without_labels_there_is_a_keyframe_every_half_second_and_no_box(made, tmp_path):
    written = import_bag(BagImport(made.folder / "drive", tmp_path, keyframes_only=True))
    nusc = open_nuscenes(tmp_path, BAG_VERSION)
    assert (written.keyframes, written.boxes, len(nusc.sample_annotation)) == (3, 0, 0)
    assert all(row["is_key_frame"] for row in nusc.sample_data)


def test_boxes_may_be_given_in_the_lidars_frame(made, tmp_path):
    given = json.loads(made.labels.read_text())
    label = given["labels"][0]
    mounting = four_and_seven()[SCENE].lidars[LIDAR]
    label |= {"center": [1.0, 2.0, 0.5], "yaw": 0.0, "frame": LIDAR}
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([label]))
    import_bag(BagImport(made.folder / "drive", tmp_path / "out", read_bag_labels(path)))
    nusc = open_nuscenes(tmp_path / "out", BAG_VERSION)
    (sample,) = scene_samples(nusc, "drive")
    boxes, _ = ground_truth_boxes(nusc, sample, load_frame(nusc, sample).global_from_ego)
    np.testing.assert_allclose(boxes.center[0], apply(mounting, np.array([1.0, 2.0, 0.5])), atol=1e-6)
    np.testing.assert_allclose(boxes.yaw[0], -1.0, atol=1e-3)  # the right LiDAR is turned by -1 rad


BOX = {"class": "car", "center": [1, 2, 3], "size": [4, 2, 1], "yaw": 0, "stamp": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "labels .*labels.json: .*docs/own_data.md shows an example"),
        (json.dumps([BOX | {"size": [4, 0, 1]}]), "box 0 of class 'car' has the size"),
        (json.dumps([BOX | {"yaw": 90}]), "the yaw 90, which must be in radians"),
        (json.dumps([BOX | {"centre": [1, 2, 3]}]), "unknown field `centre`"),
        (json.dumps([{key: BOX[key] for key in BOX if key != "class"}]), "missing required field `class`"),
        ("[]", "hold no box; leave --labels out"),
    ],
)
def test_unfit_labels_are_named(tmp_path, text, message):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_bag_labels(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"stamp": 12.0},
            "1 of 1 labelled moments have no image or cloud within 60 ms, the first is 12.000",
        ),
        ({"frame": "front"}, "'front', whose z axis is 90 degrees off base_link's"),
        ({"frame": "nowhere"}, "nowhere"),
    ],
)
def test_labels_that_do_not_fit_the_bag_are_refused_and_nothing_is_written(made, tmp_path, change, message):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([json.loads(made.labels.read_text())["labels"][0] | change]))
    with pytest.raises(DataError, match=message):
        import_bag(BagImport(made.folder / "drive", tmp_path / "out", read_bag_labels(path)))
    assert not (tmp_path / "out").exists()


def test_an_imported_data_set_is_not_mixed_with_another(made):
    with pytest.raises(ConfigError, match="holds a data set v1.0-bag already"):
        import_bag(BagImport(made.folder / "drive", made.folder / "out"))


def test_the_command_says_what_it_wrote(made, tmp_path):
    arguments = ["bag", str(made.folder / "drive"), "--labels", str(made.labels), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "3 keyframes, 21 boxes" in done.output and "warning: clouds on /lidar_" in done.output


def test_intensities_of_any_scale_become_what_teachers_know(made, tmp_path):
    """Of a driver that calls them reflectivity and goes up to 1."""

    def change(topic, message):
        if topic == f"/{LIDAR}/points":
            points = message.data.view(POINT_DTYPE).copy()
            points["intensity"] = np.linspace(0.0, 1.0, len(points))
            message.data = points.view(np.uint8)
            for field in message.fields:
                field.name = {"intensity": "reflectivity"}.get(field.name, field.name)
        return topic, message

    edited = edit_bag(made.folder / "drive", tmp_path / "edited", change)
    wanted = BagImport(edited, tmp_path / "scaled", cloud=f"/{LIDAR}/points", full_intensity=1.0)
    assert not any("intensit" in problem for problem in import_bag(wanted).problems)
    nusc = open_nuscenes(tmp_path / "scaled", BAG_VERSION)
    token = scene_samples(nusc, "edited")[0]
    points = read_lidar(nusc, nusc.rig_of(token).lidar_rows(nusc, token)[0])
    np.testing.assert_allclose(points[:, 3], 255.0 * np.linspace(0.0, 1.0, len(points)), atol=1e-4)
    told = import_bag(replace(wanted, out=tmp_path / "dim", full_intensity=255.0)).problems
    assert any("intensities up to 1, where full_intensity is 255" in problem for problem in told)
