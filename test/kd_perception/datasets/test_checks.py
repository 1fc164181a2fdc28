"""Tables that are wrong: one sentence that names file, row and remedy, before anything else is done."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from typer.testing import CliRunner

from kd_perception.cli import app
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes
from kd_perception.errors import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


def change(root: Path, target: Path, table: str, edit: Callable[[list[dict]], list[dict] | None]) -> Path:
    """The tables of `root` with one of them edited in place, or replaced by what `edit` returns."""
    if not target.exists():
        shutil.copytree(root / VERSION, target / VERSION)
    path = target / VERSION / f"{table}.json"
    rows = json.loads(path.read_text())
    edited = edit(rows)
    path.write_text(json.dumps(rows if edited is None else edited))
    return target


def put(row: int = 0, **values: object) -> Callable[[list[dict]], None]:
    return lambda rows: rows[row].update(values)


def drop(row: int, *keys: str) -> Callable[[list[dict]], None]:
    return lambda rows: [rows[row].pop(key) for key in keys] and None


def scale(key: str, factor: float) -> Callable[[list[dict]], None]:
    return lambda rows: [row.update({key: row[key] * factor}) for row in rows] and None


WRONG = {
    "a pose that is gone": ("ego_pose", lambda rows: rows[1:], "sample_data.json, row .*its ego_pose_token .*restore"),
    "a zero rotation": ("ego_pose", put(rotation=[0, 0, 0, 0]), "ego_pose.json, row .*no quaternion.*correct"),
    "a rotation of a box": ("sample_annotation", put(2, rotation=[0.0] * 4), "annotation.json, row .*quaternion"),
    "a place that is NaN": ("sample_annotation", put(translation=[float("nan"), 0, 0]), "translation .*finite numbers"),
    "a size of zero": ("sample_annotation", put(1, size=[2.0, 0.0, 1.5]), r"size \[2.0, 0.0, 1.5\] is not width"),
    "a negative size": ("sample_annotation", put(1, size=[-2.0, 4.0, 1.5]), "all above 0; correct or remove it"),
    "a size that is NaN": ("sample_annotation", put(size=[2.0, float("nan"), 1]), "sample_annotation.json, row .*size"),
    "a size that is text": ("sample_annotation", put(size=["2", "4", "1"]), "sample_annotation.json, row .*size"),
    "no width": ("sample_data", drop(0, "width", "height"), "sample_data.json, row .*no size of a picture; add"),
    "no focal length": ("calibrated_sensor", put(camera_intrinsic=[[0] * 3] * 3), "camera_intrinsic .*positive focal"),
    "an attribute": ("sample_annotation", put(attribute_tokens=["x"]), "its attribute 'x' is not in attribute.json"),
    "a first sample": ("scene", put(first_sample_token="x"), "scene.json, row .*sample_token 'x' is not in sample"),
    "a late first sample": ("scene", lambda rows: put(first_sample_token=rows[0]["last_sample_token"])(rows),
                            "leads to 1 of its 3 samples; correct first_sample_token"),
    "the first of another scene": ("scene", lambda rows: put(first_sample_token=rows[1]["first_sample_token"])(rows),
                                   "sample.json, row .*scene 'scene-north' leads to it, but it belongs to another"),
    "a circle": ("sample", lambda rows: put(2, next=rows[0]["token"])(rows), "samples comes back to itself"),
    "a chain into nothing": ("sample", put(1, next="gone"), "leads to 'gone', which is not in sample.json"),
    "two at one time": ("sample", lambda rows: put(1, timestamp=rows[0]["timestamp"])(rows), "not later than the one"),
    "stamps in seconds": ("sample", scale("timestamp", 1e-6), "keyframes are 0.5 apart, which is not microseconds"),
    "stamps in nanoseconds": ("sample", scale("timestamp", 1000), "in nanoseconds; write it in microseconds"),
    "stamps of images in seconds": ("sample_data", scale("timestamp", 1e-6), "far from its sample's"),
    "a stamp that is text": ("sample_data", put(timestamp="now"), "its timestamp 'now' is no number"),
    "two rows of a token": ("sample", lambda rows: [*rows, rows[0]], "sample.json, row .*another row has the same"),
    "a token that is no text": ("category", put(token=7), "category.json, row '7': its token is no text"),
    "no rows": ("instance", lambda rows: {}, "instance.json is not a list of rows"),
    "two scenes of a name": ("scene", put(1, name=SCENES[0]), "scene.json, row .*another scene has the name"),
    "a name that is a path": ("scene", put(name="../../out"), "name '../../out' cannot be part of a file's name"),
    "a name with a control character": ("scene", put(name="a\x1b[2J"), "cannot be part of a file's name; rename it"),
    "an object before itself": ("sample_annotation", lambda rows: put(1, next=rows[0]["token"])(rows), "next is not"),
    "an object's next that is gone": ("sample_annotation", put(0, next="gone"), "its next 'gone' is not there; empty"),
    "a category that is gone": ("category", lambda rows: rows[1:], "instance.json, row .*category_token .*restore"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_row_is_named_with_its_file_and_the_remedy(root: Path, tmp_path: Path, what: str):
    table, edit, sentence = WRONG[what]
    with pytest.raises(DataError, match=sentence) as caught:
        open_nuscenes(change(root, tmp_path / "data", table, edit), VERSION)
    assert str(caught.value).startswith(str(tmp_path / "data" / VERSION)) and "\x1b" not in str(caught.value)


def test_the_command_fails_with_the_sentence_and_writes_nothing(root: Path, tmp_path: Path):
    data = change(root, tmp_path / "data", "ego_pose", put(rotation=[0, 0, 0, 0]))
    out = tmp_path / "bag"
    where = ["--dataroot", str(data), "--version", VERSION, "--scene", SCENES[0], "--out", str(out)]
    result = CliRunner().invoke(app, ["bag", *where])
    assert result.exit_code and not out.exists() and "no quaternion" in str(result.exception or result.output)


@pytest.mark.parametrize(
    ("table", "edit"),
    [
        ("map", lambda rows: []),
        ("map", put(filename="maps/gone.png")),
        ("map", drop(0, "log_tokens")),
        ("sample_annotation", lambda rows: [row.pop("num_radar_pts") for row in rows] and None),
    ],
)
def test_what_nothing_here_needs_may_be_absent(root: Path, tmp_path: Path, table: str, edit: Callable):
    nusc = open_nuscenes(change(root, tmp_path / "data", table, edit), VERSION)
    assert len(load_frame(nusc, nusc.sample[0]["token"]).images) == 6
    assert sum(row["num_lidar_pts"] + row["num_radar_pts"] for row in nusc.sample_annotation) == 6 * 6 * 7
