"""Recordings of hard_sample_recorder as data sets: a keyframe each, with its past; gaps and labels end scenes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.labels_of_tables import write_labels
from support.nuscenes_tables import SCENES, four_and_seven, write_dataset
from support.nuscenes_tables import VERSION as PAINTED
from support.recording_of_bag import write_recording

from kd_perception.bags.nuscenes_bag import BagOptions, write_scene
from kd_perception.continual.recording import KEPT
from kd_perception.datasets.kept_table import KEPT_TABLE, read_kept
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.timeline import camera_timeline
from kd_perception.datasets.versions import BAG_VERSION
from kd_perception.errors import ConfigError, DataError
from kd_perception.imports.bag import BagImport, import_bag
from kd_perception.imports.bag_labels import read_bag_labels
from kd_perception.imports.kept_frames import leading

SCENE = SCENES[0]
KEPT_NUMBERS = (1, 2, 6, 7)  # of the keyframes of the drive


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A drive of eight keyframes, and what was kept of it."""
    folder = tmp_path_factory.mktemp("recorded")
    nusc = open_nuscenes(write_dataset(folder / "source", samples=8, rigs=four_and_seven()), PAINTED)
    write_scene(nusc, SCENE, folder / "drive", BagOptions("mcap"))
    stamps = [load_frame(nusc, token).timestamp_us * 1000 for token in scene_samples(nusc, SCENE)]
    write_recording(folder / "drive", folder / "kept", {stamps[k]: float(k) for k in KEPT_NUMBERS})
    write_labels(folder / "source", PAINTED, SCENE, folder / "labels.json")
    return folder


def wanted(made: Path, out: Path, labels: Path | None = None) -> BagImport:
    return BagImport(made / "kept", out, read_bag_labels(labels) if labels else None, cloud="/lidar_right/points")


def some_labels(made: Path, target: Path, *numbers: int) -> Path:
    """The labels of some keyframes of the drive."""
    given = json.loads((made / "labels.json").read_text())
    stamps = sorted({label["stamp"] for label in given["labels"]})
    chosen = [label for label in given["labels"] if stamps.index(label["stamp"]) in numbers]
    target.write_text(json.dumps({"labels": chosen, "without_objects": []}))
    return target


def test_each_kept_frame_is_a_keyframe_with_its_past(made, tmp_path):
    written = import_bag(wanted(made, tmp_path / "out"))
    nusc, source = open_nuscenes(tmp_path / "out", BAG_VERSION), open_nuscenes(made / "source", PAINTED)
    assert written.keyframes == 4 and scene_names(nusc) == ["kept-000", "kept-001"]
    kept = read_kept(tmp_path / "out" / BAG_VERSION)
    theirs = [load_frame(source, token) for token in scene_samples(source, SCENE)]
    for scene, numbers in (("kept-000", (1, 2)), ("kept-001", (6, 7))):
        line = camera_timeline(nusc, scene)
        for sample, number in zip(scene_samples(nusc, scene), numbers, strict=True):
            frame = load_frame(nusc, sample)
            assert frame.timestamp_us == theirs[number].timestamp_us and not frame.masked
            assert [image.read() for image in frame.images] == [image.read() for image in theirs[number].images]
            assert (kept[sample].importance, kept[sample].verdicts) == (number, {"missed": 1})
            assert len(line.earlier(frame.timestamp_us, 0.1, 0.6)) == 2, "the image between, and the keyframe before"
            before = nusc.exposures(nusc.get("sample", sample)["scene_token"], "lidar_right")
            assert (nusc.index["sample_data.stamp"][before] < frame.timestamp_us).any()
        first, second = (load_frame(nusc, sample).global_from_ego for sample in scene_samples(nusc, scene))
        expected = [theirs[number].global_from_ego for number in numbers]
        moved, travelled = np.linalg.inv(first) @ second, np.linalg.inv(expected[0]) @ expected[1]
        np.testing.assert_allclose(moved, travelled, atol=1e-6)


def test_an_import_that_was_killed_can_be_made_again(made, tmp_path):
    import_bag(wanted(made, tmp_path / "out"))
    (tmp_path / "out" / BAG_VERSION / "scene.json").unlink()  # the table that is written last
    assert import_bag(wanted(made, tmp_path / "out")).keyframes == 4
    with pytest.raises(ConfigError, match="holds a data set v1.0-bag already"):
        import_bag(wanted(made, tmp_path / "out"))


def test_what_a_human_labelled_stands_in_scenes_of_its_own(made, tmp_path):
    labels = some_labels(made, tmp_path / "labels.json", 1, 6, 7)
    written = import_bag(wanted(made, tmp_path / "out", labels))
    nusc = open_nuscenes(tmp_path / "out", BAG_VERSION)
    counts = {scene: [len(nusc.get("sample", token)["anns"]) for token in scene_samples(nusc, scene)]
              for scene in scene_names(nusc)}  # fmt: skip
    assert counts == {"kept-000": [7], "kept-001-unlabelled": [0], "kept-002": [7, 7]}
    assert written.boxes == 21 and len(read_kept(tmp_path / "out" / BAG_VERSION)) == 4


def test_labels_of_other_moments_are_refused(made, tmp_path):
    labels = some_labels(made, tmp_path / "labels.json", 1, 4)
    with pytest.raises(DataError, match="belong to no kept frame of .* within 60 ms"):
        import_bag(wanted(made, tmp_path / "out", labels))
    assert not (tmp_path / "out").exists()


def test_an_empty_recording_and_a_damaged_table_are_named(made, tmp_path):
    empty = shutil.copytree(made / "kept", tmp_path / "empty")
    (empty / KEPT).write_bytes(b"")
    with pytest.raises(DataError, match="holds no kept frame yet"):
        import_bag(BagImport(empty, tmp_path / "out"))
    (tmp_path / f"{KEPT_TABLE}.json").write_text("[{}]")
    with pytest.raises(DataError, match="import the recording again"):
        read_kept(tmp_path)
    assert read_kept(tmp_path / "empty") == {}


def test_what_was_measured_leads_to_the_next_keyframe_or_trails_the_last():
    second = 1_000_000_000
    stamps = np.array([0.0, 0.5, 3.0, 4.2, 5.1, 7.5, 8.5, 12.0]) * second
    moments = [int(2.4 * second), 6 * second]
    assert leading(stamps, moments).tolist() == [-1, 0, 0, 1, 1, 1, -1, -1]
