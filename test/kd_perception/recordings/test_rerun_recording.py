"""What is written for rerun is read back with its own reader."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from support.viewed import STAMP_NS, cameras, viewed_frame

from kd_perception.drawing.bird_eye import BevView
from kd_perception.errors import ConfigError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import apply, make_transform
from kd_perception.recordings.rerun_recording import heatmap_picture, picture_path, rerun_file
from kd_perception.recordings.viewed_frame import ViewedFrame

Rows = dict[str, list]


def read(path: Path) -> Rows:
    """Columns by name; rows as a viewer shows the frames, with the last values where a frame has none."""
    from rerun.dataframe import load_recording

    view = load_recording(path).view(index="frame", contents="/**", include_tombstone_columns=True)
    found = view.fill_latest_at().select().read_all()
    found = found.set_column(found.column_names.index("stamp"), "stamp", found["stamp"].cast("int64"))
    return found.drop_columns(["log_time", "log_tick"]).to_pydict()


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Rows:
    """Columns by name of a recording of three frames, the last of which knows nothing but a time; a row for each."""
    pytest.importorskip("rerun", reason="rerun is not installed: requirements/viewer.txt")
    path = tmp_path_factory.mktemp("rerun") / "a.rrd"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # rerun only warns of what it cannot log
        with rerun_file(path) as recording:
            for frame in (viewed_frame(0, wrong=2), viewed_frame(1), ViewedFrame("bare", STAMP_NS + 10**9, ())):
                recording.write(frame)
    return read(path)


def column(table: Rows, entity: str, component: str) -> list:
    (name,) = [name for name in table if name == f"/{entity}:{component}"]
    return table[name]


def test_each_frame_has_its_stamp(table: Rows) -> None:
    assert table["frame"] == [0, 1, 2]
    assert table["stamp"] == [STAMP_NS, STAMP_NS + 500_000_000, STAMP_NS + 10**9]


def test_boxes_found_missed_and_false_are_drawn_once(table: Rows) -> None:
    for view, component in (("scene", "HalfSize3D"), ("from_above", "LineStrip2D")):
        assert [len(rows) for rows in column(table, f"{view}/predictions", component)[:2]] == [1, 1]
        assert [len(rows) for rows in column(table, f"{view}/missed/00", component)[:2]] == [1, 1]
        assert [len(rows) for rows in column(table, f"{view}/false/00", component)[:2]] == [1, 1]
        assert len(column(table, f"{view}/false/01", component)[0]) == 1
        assert column(table, f"{view}/false", "ClearIsRecursive") == [[True]] * 3  # the next frame has one less
    assert [len(rows) for rows in column(table, "scene/ground_truth", "LineStrip3D")[:2]] == [1, 1]


def corners(table: Rows, entity: str) -> np.ndarray:
    """Corners (N, 8, 3) of the first frame's boxes, from half sizes and quaternions x, y, z, w."""
    signs = np.array([(x, y, z) for z in (-1, 1) for x, y in ((1, 1), (1, -1), (-1, -1), (-1, 1))])
    parts = ("PoseTranslation3D", "HalfSize3D", "PoseRotationQuat")
    boxes = []
    for center, half, quaternion in zip(*(column(table, entity, part)[0] for part in parts), strict=True):
        boxes.append(apply(make_transform(np.roll(quaternion, 1), np.array(center)), signs * half))
    return np.array(boxes)


def test_corners_are_those_of_the_boxes(table: Rows) -> None:
    frame = viewed_frame()
    np.testing.assert_allclose(corners(table, "scene/predictions"), frame.predictions[:1].corners(), atol=1e-5)
    np.testing.assert_allclose(corners(table, "scene/missed/00"), frame.ground_truth[1:].corners(), atol=1e-5)
    (outline,) = column(table, "scene/ground_truth", "LineStrip3D")[0]
    expected = frame.ground_truth[:1].corners()[0]
    distance = np.linalg.norm(np.array(outline)[:, None] - expected, axis=-1)
    np.testing.assert_allclose(distance.min(axis=1), 0.0, atol=1e-5)
    edges = {frozenset(pair) for pair in zip(distance.argmin(axis=1), distance.argmin(axis=1)[1:], strict=False)}
    assert len(edges) >= 12 and set(range(8)) == set(distance.argmin(axis=1))


def test_from_above_ahead_is_up_and_left_is_left(table: Rows) -> None:
    (outline,) = column(table, "from_above/missed/00", "LineStrip2D")[0]
    bev = BevView(1.0, 2)  # one metre a pixel, the ego in pixel (1, 1)
    np.testing.assert_allclose(outline[0], bev.pixels(viewed_frame().ground_truth.center[1, :2]) - 1.0, atol=1e-5)


def test_a_fault_says_why_wherever_it_is_selected(table: Rows) -> None:
    sentence = "car at x -9.0 m, y 5.0 m was missed: nobody looked"
    assert column(table, "scene/missed/00", "reason")[0] == [sentence]
    assert column(table, "reasons/missed/00", "Text")[0] == [sentence]
    lines = [rows[0][0] for name, rows in sorted(table.items()) if name.startswith("/from_above/missed/00:why_")]
    assert " ".join(lines) == sentence and max(map(len, lines)) <= 24
    assert column(table, "from_above/false/01", "reason")[0] == ["false number 1"]


def shown(table: Rows, entity: str) -> list[np.ndarray]:
    """Lines (K, 2) of the first frame; none where nothing was ever drawn."""
    return [np.array(line) for line in table.get(f"/{entity}:LineStrip2D", [None])[0] or ()]


def test_a_fisheye_has_a_picture_and_boxes_but_no_frustum(table: Rows) -> None:
    ahead, left = map(picture_path, cameras())
    assert (ahead, left) == ("scene/ahead", "pictures/left")
    projection = np.array(column(table, ahead, "PinholeProjection")[0]).reshape(3, 3).T
    np.testing.assert_allclose(projection, cameras()[0].intrinsics, atol=1e-4)
    assert not [name for name in table if name.startswith(f"/{left}") and "Pinhole" in name]
    for path in (ahead, left):
        assert bytes(column(table, f"{path}/picture", "Blob")[0][0]) == viewed_frame().images[0].data
        lines = [line for name in ("ground_truth", "predictions") for line in shown(table, f"{path}/{name}")]
        pixels = np.concatenate(lines)
        assert len(lines) > 4 and (pixels >= 0).all() and (pixels <= [64, 48]).all()


def test_scores_and_counts_are_curves(table: Rows) -> None:
    assert column(table, "scores/car", "Scalar")[:2] == [[0.5], [0.5]]
    counts = {name: column(table, f"counts/{name}", "Scalar")[:2] for name in ("predictions", "missed", "false")}
    assert counts == {"predictions": [[3.0], [2.0]], "missed": [[1.0], [1.0]], "false": [[2.0], [1.0]]}


def test_a_heatmap_lies_as_the_view_from_above_does() -> None:
    heatmap = np.zeros((2, 4, 4))
    heatmap[1, 3, 2] = 1.0  # y largest: left; x rather large: rather high
    picture = heatmap_picture(heatmap)
    assert picture.shape == (4, 4, 3) and np.unravel_index(picture.sum(axis=-1).argmax(), (4, 4)) == (1, 0)


def test_without_rerun_one_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with (
        pytest.raises(ConfigError, match="rerun is not installed.*pip install -r requirements/viewer.txt"),
        rerun_file(tmp_path / "a.rrd"),
    ):
        raise AssertionError("not reached")
    assert not list(tmp_path.iterdir())


def test_a_frame_of_no_boxes_draws_none(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun is not installed: requirements/viewer.txt")
    frame = ViewedFrame("empty", STAMP_NS, viewed_frame().images, ground_truth=Boxes.empty(), predictions=Boxes.empty())
    with rerun_file(tmp_path / "a.rrd") as recording:
        recording.write(viewed_frame())
        recording.write(frame)
    table = read(tmp_path / "a.rrd")
    for entity, component in (("scene/predictions", "HalfSize3D"), ("scene/ground_truth", "LineStrip3D")):
        assert not column(table, entity, component)[1]
