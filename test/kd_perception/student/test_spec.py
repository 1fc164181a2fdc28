"""The student file's metadata: round trip, and what a truncated, foreign or damaged file says."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from support.fake_student import SPEC, write_fake_student

from kd_perception.errors import StudentError
from kd_perception.geometry.classes import CLASSES, NUSCENES, class_list
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, SHIPPED_STUDENT, resource
from kd_perception.student.camera_params import CAMERA_PARAMS
from kd_perception.student.spec import METADATA_KEY, MemorySpec, StudentSpec, load_student

VIEW = json.loads(SPEC.to_json())["view"]


def with_metadata(path: Path, change: dict | None = None, text: str | None = None) -> Path:
    """A fake student whose metadata JSON is changed (None deletes a key) or replaced by `text`."""
    write_fake_student(path)
    model = onnx.load(path)
    raw = json.loads(model.metadata_props[0].value)
    for key, value in (change or {}).items():
        raw[key] = value
        if value is None:
            del raw[key]
    helper.set_model_props(model, {METADATA_KEY: json.dumps(raw) if text is None else text})
    onnx.save(model, path)
    return path


def test_metadata_round_trip(tmp_path: Path):
    spec = replace(SPEC, accuracy={"mAP": 0.35}, latency_ms={"openvino": 60.0}, provenance={"data": "ünïcode"})
    student = load_student(write_fake_student(tmp_path / "fake.onnx", spec))
    assert student.spec == spec
    assert student.model_id.startswith("painted@") and len(student.sha256) == 64


def test_equal_content_has_equal_identity(tmp_path: Path):
    first, second = (load_student(write_fake_student(tmp_path / name)) for name in ("a.onnx", "b.onnx"))
    assert first.sha256 == second.sha256
    other = load_student(write_fake_student(tmp_path / "c.onnx", replace(SPEC, name="other")))
    assert other.sha256 != first.sha256


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(StudentError, match=r"absent\.onnx does not exist"):
        load_student(tmp_path / "absent.onnx")


def test_a_shipped_student_is_found_by_name_from_anywhere(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bevdet_demo").mkdir()  # as kd train leaves one: no student file
    assert load_student(Path("bevdet_demo")).path == resource("models/bevdet_demo.onnx")


def test_a_path_is_a_path_whatever_it_is_called(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = write_fake_student(tmp_path / "own.onnx").rename(tmp_path / "bevdet_demo")
    assert load_student(Path("bevdet_demo")).sha256 == load_student(own).sha256
    for given in ("bevdet_demo.onnx", "models/bevdet_demo"):
        with pytest.raises(StudentError, match=rf"student file {given} does not exist"):
            load_student(Path(given))


def test_an_unknown_name_lists_those_that_ship():
    expected = (
        "no shipped student is called 'bevdet5d' .there are: bevdet4d_distilled, bevdet4d_distilled_int8, bevdet_demo"
    )
    with pytest.raises(StudentError, match=expected):
        load_student(Path("bevdet5d"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_no_student(tmp_path: Path, share: float):
    whole = write_fake_student(tmp_path / "whole.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(StudentError, match=r"cut\.onnx is (no readable ONNX file|an ONNX file but no student)"):
        load_student(cut)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip file", bytes(range(256))])
def test_another_format_is_no_student(tmp_path: Path, content: bytes):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(StudentError, match=r"other\.onnx is (no readable ONNX file|an ONNX file but no student)"):
        load_student(path)


def test_a_foreign_onnx_file_is_no_student(tmp_path: Path):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    onnx.save(
        helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "foreign", [value], [out])),
        tmp_path / "foreign.onnx",
    )
    with pytest.raises(
        StudentError, match=r"foreign\.onnx is an ONNX file but no student: it lacks the 'kd_student' metadata"
    ):
        load_student(tmp_path / "foreign.onnx")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 99}, "student format 99 is not 1"),
        ({"format": None}, "metadata is damaged .*missing required field `format`"),
        ({"grid": None}, "metadata is damaged .*missing required field `grid`"),
        ({"surprise": 1}, r"metadata is damaged .*unknown field `surprise`"),
        ({"view": {**VIEW, "lens": 1}}, r"metadata is damaged .*unknown field `view.lens`"),
        ({"view": {"kind": "pull"}}, r"metadata is damaged .*missing required field `stride` - at `\$\.view`"),
        ({"name": 7}, r"metadata is damaged .*Expected `str`, got `int` - at `\$\.name`"),
        ({"trained_cameras": "six"}, r"metadata is damaged .*Expected `int`, got `str` - at `\$\.trained_cameras`"),
        ({"trained_cameras": True}, r"metadata is damaged .*got `bool` - at `\$\.trained_cameras`"),
        ({"image_size": [64]}, r"metadata is damaged .*at `\$\.image_size`"),
        ({"view": {**VIEW, "stride": 4.5}}, r"metadata is damaged .*at `\$\.view\.stride`"),
        ({"accuracy": {"mAP": "high"}}, r"metadata is damaged .*at `\$\.accuracy\[\.\.\.\]`"),
        ({"accuracy": {"mAP": float("nan")}}, "metadata is damaged"),
        ({"latency_ms": {"total": float("inf")}}, "metadata is damaged"),
        ({"view": {**VIEW, "stride": 0}}, "must all be above 0"),
        ({"trained_cameras": 0}, "must all be above 0"),
        ({"view": {**VIEW, "kind": "teleport"}}, "view transform 'teleport' is unknown"),
        ({"image_size": [65, 176]}, "not a multiple of the feature stride"),
        ({"heading": "north"}, r"metadata is damaged .*Invalid enum value 'north' - at `\$\.heading`"),
        ({"heading": "vector"}, "its regression has 12 codes, but its heading 'vector' means 10"),
        ({"format": 2, "heading": None}, "its regression has 12 codes, but its heading 'vector' means 10"),
        ({"format": 1, "classes": list(reversed(CLASSES))}, "not the ten nuScenes classes"),
        ({"classes": {"groups": []}}, "at least one group"),
        ({"classes": {"groups": [{"nms_radius": 1.0, "classes": [{"name": "car"}]}]}}, "metadata is damaged .*color"),
        (
            {"grid": {"x_min": -32.0, "x_max": 32.5, "y_min": -32.0, "y_max": 32.0, "cell_size": 1.0}},
            r"metadata is damaged .*whole number.* at `\$\.grid`",
        ),
        (
            {"grid": {"x_min": -32.0, "x_max": 32.0, "y_min": -32.0, "y_max": 32.0, "cell_size": 0.0}},
            r"metadata is damaged .*cell size 0\.0 m is not above 0",
        ),
    ],
)
def test_damaged_metadata_says_what_is_wrong_and_where(tmp_path: Path, change: dict, sentence: str):
    path = with_metadata(tmp_path / "damaged.onnx", change)
    with pytest.raises(StudentError, match=rf"damaged\.onnx.*{sentence}"):
        load_student(path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '"text"', "12"])
def test_metadata_that_is_no_json_object_is_damaged(tmp_path: Path, text: str):
    path = with_metadata(tmp_path / "damaged.onnx", text=text)
    with pytest.raises(StudentError, match=r"damaged\.onnx: its student metadata is damaged"):
        load_student(path)


TEMPORAL = replace(SPEC, temporal_frames=2, memory=MemorySpec(64, 0.5, 0.1, 1.0))


def test_a_temporal_students_metadata_round_trip(tmp_path: Path):
    assert StudentSpec.from_json(TEMPORAL.to_json(), "here") == TEMPORAL
    assert TEMPORAL.outputs == ("heatmap", "regression", "bev_feature") and TEMPORAL.memory_shape == (64, 64, 64)
    assert SPEC.outputs == ("heatmap", "regression") and SPEC.memory_shape == (0, 64, 64)
    assert "memory" not in json.loads(SPEC.to_json())  # a single-frame file is what it always was


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"temporal_frames": 1}, "1 temporal frames are not what its memory needs"),
        ({"memory": None}, "2 temporal frames are not what its memory needs"),
        ({"memory": {"channels": 64}}, "metadata is damaged"),
        (
            {"memory": {"channels": 64, "interval_s": 2.0, "shortest_s": 0.1, "longest_s": 1.0}},
            r"intervals must rise from shortest \(0.1 s\) over the best \(2.0 s\)",
        ),
    ],
)
def test_a_memory_that_does_not_fit_is_refused(change: dict, sentence: str):
    raw = {**json.loads(TEMPORAL.to_json()), **change}
    with pytest.raises(StudentError, match=f"here: .*{sentence}"):
        StudentSpec.from_json(json.dumps(raw), "here")


def test_a_camera_aware_students_metadata_round_trip():
    aware = replace(SPEC, camera_params=CAMERA_PARAMS)
    assert StudentSpec.from_json(aware.to_json(), "here") == aware
    assert aware.camera_shapes(4)["camera_params"] == (4, CAMERA_PARAMS)
    assert list(SPEC.camera_shapes(4)) == ["images", "camera_valid"]
    raw = json.loads(SPEC.to_json())
    assert "camera_params" not in raw  # other files are what they always were
    with pytest.raises(StudentError, match=f"here: it takes 27 parameters of each camera, .* has {CAMERA_PARAMS}"):
        StudentSpec.from_json(json.dumps(raw | {"camera_params": 27}), "here")


def test_feature_size_follows_the_stride():
    assert SPEC.feature_size == (16, 44)
    assert StudentSpec.from_json(SPEC.to_json(), "here") == SPEC


@pytest.mark.parametrize("file", [SHIPPED_STUDENT, SHIPPED_SINGLE_FRAME_STUDENT])
def test_metadata_of_format_1_is_read_and_written_as_format_3(file: str):
    """Files of format 1 listed the names of classes, and did not say that they code headings as vectors."""
    text = next(entry.value for entry in onnx.load(resource(file)).metadata_props if entry.key == METADATA_KEY)
    new = json.loads(text)
    assert class_list(new["classes"], file) == NUSCENES and (new["format"], new["heading"]) == (3, "vector")
    old = {key: value for key, value in new.items() if key != "heading"} | {"classes": list(CLASSES), "format": 1}
    assert json.loads(StudentSpec.from_json(json.dumps(old), file).to_json()) == new


def test_a_figure_that_is_no_number_is_not_written():
    with pytest.raises(StudentError, match="student painted has a figure that is no finite number"):
        replace(SPEC, accuracy={"mAP": float("nan")}).to_json()
