"""`kd kitti-ap`: folders of label and result files, what it prints, and what it refuses."""

import json

import pytest
from support.kitti_rows import row
from support.real_data import real_data

from kd_perception.datasets.kitti_labels import DONT_CARE, read_labels, read_results
from kd_perception.errors import DataError
from kd_perception.evaluation.kitti_command import kitti_command
from kd_perception.evaluation.kitti_files import score_folders

CAR = "Car 0.10 0 -1.57 600.00 150.00 650.00 200.00 1.50 1.60 4.00 2.00 1.65 20.00 0.30"
NAMES = [f"{index:06d}" for index in range(41)]


def write_folder(folder, text, names=NAMES):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.txt").write_text(text)
    return folder


@pytest.fixture
def folders(tmp_path):
    """Labels, and results that find them."""
    return write_folder(tmp_path / "labels", CAR), write_folder(tmp_path / "results", f"{CAR} 0.5")


def test_the_command_prints_80_columns_and_writes_json(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    labels, results = folders
    kitti_command(labels=labels, results=results, out=tmp_path / "ap.json")
    printed = capsys.readouterr().out
    assert "100.00 (41)" in printed and "- (0)" in printed and "*" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    figures = json.loads((tmp_path / "ap.json").read_text())
    assert len(figures) == 9
    assert figures[2] == {
        "class": "Car",
        "measure": "3D",
        "iou": 0.7,
        "ap": {"easy": 100.0, "moderate": 100.0, "hard": 100.0},
        "objects": {"easy": 41, "moderate": 41, "hard": 41},
    }
    assert figures[-1]["ap"]["hard"] is None


def test_frames_of_a_list_are_scored_and_few_objects_are_marked(folders, tmp_path, capsys):
    (tmp_path / "val.txt").write_text("000001\n000002\n")
    labels, results = folders
    kitti_command(labels=labels, results=results, frames=tmp_path / "val.txt")
    printed = capsys.readouterr().out
    assert "2.50* (2)" in printed and "reach (n - 1) / 40 at most" in printed


@pytest.mark.parametrize(
    ("folder", "text", "message"),
    [
        ("results", None, "1 of 41 frames have no result file in .*, the first is 000003.txt; write an empty file"),
        ("labels", None, "1 result files in .* have no labels in .*, the first is 000003.txt"),
        ("results", CAR, "000003.txt has a Car without a score; results have 16 columns"),
        ("results", f"{CAR} nan", "000003.txt, line 1 is no label .*finite"),
        ("results", f"{CAR} 0.5 0.5", "000003.txt, line 1 is no label"),
        ("results", f"Bus{CAR[3:]} 0.5", "000003.txt names the class 'Bus'; KITTI's are Car, Van"),
        ("labels", f"Bus{CAR[3:]}", "000003.txt names the class 'Bus'"),
        ("results", f"DontCare{CAR[3:]} 0.5", "000003.txt detects DontCare"),
        ("results", f"{CAR} 0.5".replace("650.00", "550.00"), "ends before it begins"),
        ("results", "\0\1", "000003.txt, line 1 is no label"),
    ],
)
def test_what_cannot_be_scored_is_said_in_a_sentence(folders, folder, text, message):
    path = folders[0].parent / folder / "000003.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=message):
        score_folders(*folders)


def test_folders_that_are_none_or_empty_are_named(folders, tmp_path):
    with pytest.raises(DataError, match="nowhere is no folder"):
        score_folders(folders[0], tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no label file"):
        score_folders(tmp_path / "empty", folders[1])
    with pytest.raises(DataError, match="1 of 1 frames have no label file in .*labels, the first is x.txt; restore"):
        score_folders(*folders, names=["x"])


def test_a_result_row_is_read_as_it_was_written(tmp_path):
    (tmp_path / "000000.txt").write_text(row(score=0.123456, alpha=-1.2345).row() + "\n")
    (back,) = read_results(tmp_path / "000000.txt")
    assert (back.score, back.alpha, back.kind) == (0.123456, -1.2345, "Car")


def test_real_labels_find_themselves(tmp_path):
    source = real_data("kitti-real") / "training" / "label_2"
    copies = [(name, f"{name}{copy:02d}") for name in ("000000", "000001") for copy in range(41)]
    (tmp_path / "labels").mkdir(), (tmp_path / "results").mkdir()
    for name, copy in copies:
        (tmp_path / "labels" / f"{copy}.txt").write_text((source / f"{name}.txt").read_text())
        found = [row for row in read_labels(source / f"{name}.txt") if row.kind != DONT_CARE]
        text = "".join(f"{row.row()} 0.9\n" for row in found)
        (tmp_path / "results" / f"{copy}.txt").write_text(text)
    scores = score_folders(tmp_path / "labels", tmp_path / "results")
    counted = {(score.kind.name, score.measure): score.levels for score in scores}
    for measure in ("2D", "BEV", "3D"):
        assert [level.ap for level in counted["Pedestrian", measure]] == [100.0] * 3
        assert all(
            level.ap == 100.0 for name in ("Car", "Cyclist") for level in counted[name, measure] if level.objects
        )
    # the car is 22 pixels high, the cyclist's occlusion is unknown: no level counts them
    assert [counted[name, "3D"][2].objects for name in ("Car", "Pedestrian", "Cyclist")] == [0, 41, 0]
