"""`kd eval` on painted images, whose objects are known."""

import json
import re
from pathlib import Path

import pytest
from mcap.reader import make_reader
from support.fake_student import write_fake_student
from support.nuscenes_tables import SCENES, VERSION, four_and_seven, without_rows, write_dataset

from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_samples
from kd_perception.errors import CalibrationError, ConfigError, DataError
from kd_perception.evaluation.offline import evaluate
from kd_perception.evaluation.predictions import FrameFeed, detect_scenes
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import load_student


@pytest.fixture
def dataroot(tmp_path):  # noqa: ANN001, ANN201
    return write_dataset(tmp_path / "data")


@pytest.fixture
def student(tmp_path):  # noqa: ANN001, ANN201
    return write_fake_student(tmp_path / "fake.onnx")


def make_pipelines(student) -> RigPipelines:  # noqa: ANN001
    return RigPipelines(load_student(student), "onnxruntime", PipelineOptions(threads=1))


def run_command(student: Path, dataroot: Path, out: Path, **options: object) -> None:
    evaluate(student=student, dataroot=dataroot, version=VERSION, out=out, engine="onnxruntime", threads=1, **options)


def test_command_scores_known_objects_and_leaves_every_file(dataroot, student, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    run_command(student, dataroot, out)
    summary = json.loads((out / "metrics_summary.json").read_text())
    assert summary["mean_dist_aps"]["car"] > 0.7 and summary["mean_dist_aps"]["barrier"] > 0.7
    assert summary["mean_dist_aps"]["pedestrian"] == 0.0
    report = json.loads((out / "report.json").read_text())
    assert (report["frames_in"], report["frames_answered"], report["frames_dropped"]) == (6, 6, 0)
    assert set(report["latency_ms"]) == {"preprocess", "inference", "decode", "total"}
    assert set(report["latency_ms"]["total"]) == {"p50", "p95", "p99"}
    assert report["model"].startswith("painted@") and report["engine"] == "onnxruntime" and report["commit"]
    assert set(json.loads((out / "results_nusc.json").read_text())["results"]) == {
        t for s in SCENES for t in scene_samples(open_nuscenes(dataroot, VERSION), s)
    }
    page = (out / "report.html").read_text()
    assert page.count("data:image/") == 8 and "<svg" in page  # cameras and bird's-eye view of four samples
    assert not re.search(r"""(src|href)="(?!data:|#)""", page)  # nothing is fetched from elsewhere
    assert len(list((out / "pictures").glob("*.jpg"))) == 4
    assert "construction_vehicle" in capsys.readouterr().out
    with open(out / "foxglove.mcap", "rb") as stream:
        summary = make_reader(stream).get_summary()
    counts = {channel.topic: summary.statistics.channel_message_counts[i] for i, channel in summary.channels.items()}
    assert counts["/predictions"] == counts["/ground_truth"] == counts["/CAM_FRONT/image"] == counts["/tf"] == 6


def test_scenes_of_four_and_seven_cameras_are_evaluated_together(student, tmp_path, capsys) -> None:
    """An image that the tables lack is masked, counted, and shown as missing; nothing is dropped in silence."""
    data = write_dataset(tmp_path / "data", rigs=four_and_seven())
    gone = sorted((data / "samples" / "right").glob(f"{SCENES[0]}*"))
    without_rows(data, *(path.name for path in gone[1:]))
    run_command(student, data, tmp_path / "out", anchor="rear")
    summary = json.loads((tmp_path / "out" / "metrics_summary.json").read_text())
    assert summary["mean_dist_aps"]["car"] > 0.7 and summary["mean_dist_aps"]["barrier"] > 0.7
    assert json.loads((tmp_path / "out" / "report.json").read_text())["frames_answered"] == 6
    sentence = "their cameras are masked (of 6 keyframes): right in 2"
    assert sentence in " ".join(capsys.readouterr().err.split())
    page = (tmp_path / "out" / "report.html").read_text()
    assert sentence in page and page.count("data:image/") == 8
    with pytest.raises(ConfigError, match="no scene has the camera 'CAM_FRONT'.*one of cam0, "):
        run_command(student, data, tmp_path / "again", anchor="CAM_FRONT")
    assert not (tmp_path / "again").exists()


def test_one_scene_of_two(dataroot, student, tmp_path) -> None:
    run_command(student, dataroot, tmp_path / "out", scenes=[SCENES[1]])
    assert json.loads((tmp_path / "out" / "report.json").read_text())["frames_in"] == 3


def test_a_missing_image_is_named_and_nothing_is_written(dataroot, student, tmp_path) -> None:
    gone = sorted((dataroot / "samples" / "CAM_BACK").iterdir())[-1]
    gone.unlink()
    with pytest.raises(DataError, match=f"{gone.name} is missing; restore it"):
        run_command(student, dataroot, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_truncated_image_is_named(dataroot, student) -> None:
    nusc = open_nuscenes(dataroot, VERSION)
    hurt = sorted((dataroot / "samples" / "CAM_BACK").iterdir())[0]
    hurt.write_bytes(hurt.read_bytes()[:200])
    with pytest.raises(DataError, match=f"{hurt.name}.*truncated"):
        detect_scenes(make_pipelines(student), nusc, SCENES)


def test_keyframes_of_which_no_camera_is_seen_are_counted_and_not_processed(dataroot, student) -> None:
    nusc = open_nuscenes(dataroot, VERSION)
    found = detect_scenes(make_pipelines(student), nusc, [SCENES[0]], FrameFeed(cameras=()))
    assert found.blind == 3 and not found.stages
    assert len(found.results) == 3 and not any(found.results.values())  # samples without detections
    assert detect_scenes(make_pipelines(student), nusc, [SCENES[0]]).blind == 0


@pytest.mark.parametrize(
    ("remove", "sentence"),
    [
        ("", "data root .* does not exist"),
        (VERSION, f"has no version '{VERSION}'"),
        (f"{VERSION}/sample_data.json", "sample_data.json"),
    ],
)
def test_missing_dataroot_version_or_table_is_named(dataroot, student, tmp_path, remove, sentence) -> None:
    (dataroot / remove).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=sentence):
        run_command(student, dataroot, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_interruption_leaves_nothing(dataroot, student, tmp_path, monkeypatch) -> None:
    calls = []

    def interrupt(self, images, *moment):  # noqa: ANN001, ANN002, ANN202
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return detect(self, images, *moment)

    detect = Pipeline.detect
    monkeypatch.setattr(Pipeline, "detect", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_command(student, dataroot, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ignored_pixels_are_not_detected_and_a_wrong_mask_is_refused(dataroot, student, tmp_path) -> None:
    def found(name: str, **options: object) -> int:
        run_command(student, dataroot, tmp_path / name, scenes=[SCENES[0]], **options)
        return sum(map(len, json.loads((tmp_path / name / "results_nusc.json").read_text())["results"].values()))

    rig = load_frame(open_nuscenes(dataroot, VERSION), scene_samples(open_nuscenes(dataroot, VERSION), SCENES[0])[0])
    camera = rig.images[0].camera
    half = camera.width * 2 // 3
    (tmp_path / "body.yaml").write_text(
        f"size: [{camera.width}, {camera.height}]\n"
        f"polygons: [[[0, 0], [{half}, 0], [{half}, {camera.height}], [0, {camera.height}]]]\n"
    )
    everywhere = [f"{image.camera.name}={tmp_path / 'body.yaml'}" for image in rig.images]
    assert 0 < found("masked", ignore_mask=everywhere) < found("whole")
    (tmp_path / "small.yaml").write_text("size: [70, 26]\npolygons: []\n")
    with pytest.raises(CalibrationError, match=f"'{camera.name}': its ignore_mask is for pictures of 70x26 pixels"):
        found("refused", ignore_mask=[f"{camera.name}={tmp_path / 'small.yaml'}"])


def test_without_ground_truth_of_the_student_s_classes_nothing_is_run(dataroot, student, tmp_path) -> None:
    path = dataroot / VERSION / "sample_annotation.json"
    rows = [{**row, "num_lidar_pts": 0} for row in json.loads(path.read_text())]
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match="num_lidar_pts and num_radar_pts of all 42 are 0"):
        run_command(student, dataroot, tmp_path / "out")
    assert not (tmp_path / "out").exists()
