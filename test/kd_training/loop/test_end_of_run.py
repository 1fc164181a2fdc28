"""The end of a run: metrics and pictures of student, teacher and ground truth; and an absent teacher that is
trained first. The data are of a rig of four cameras and one of seven, and a keyframe lacks an image."""

from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import SCENES, four_and_seven, without_rows, write_dataset
from support.tiny_runs import distilled_run, teacher_run
from typer.testing import CliRunner

from kd_perception.cli import app
from kd_training.config.experiment import to_yaml
from kd_training.evaluation.pictures import FRAMES
from kd_training.loop.train_teacher_first import train_missing_teachers


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = write_dataset(tmp_path_factory.mktemp("painted"), rigs=four_and_seven())
    gone = sorted((root / "samples" / "right").glob(f"{SCENES[0]}*"))[1]
    return without_rows(root, gone.name)


def recipes(data: Path, folder: Path) -> Path:
    """A distilled run's file, and next to it its teacher's, which is to be trained first."""
    taught = teacher_run(data, steps=2)
    taught.data.root = "nowhere"
    (folder / "teacher.yaml").write_text(to_yaml(taught))
    config = distilled_run(data, folder / "teacher.safetensors", steps=2)
    config.distill.teacher_recipe = str(folder / "teacher.yaml")
    (folder / "student.yaml").write_text(to_yaml(config))
    return folder / "student.yaml"


def test_one_command_trains_the_teacher_then_the_student_and_shows_both(data, tmp_path):
    command = ["train", str(recipes(data, tmp_path)), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.count("mAP") >= 2 and "pictures:" in result.output
    assert "their cameras are masked (of 6 keyframes): right in 1" in " ".join(result.output.split())
    taught, trained = (load_file(tmp_path / name) for name in ("teacher.safetensors", "teacher/weights.safetensors"))
    assert taught.keys() == trained.keys() and all(torch.equal(taught[name], trained[name]) for name in trained)
    for folder, panels in ((tmp_path / "teacher", 2), (tmp_path / "out", 3)):
        assert (folder / "metrics" / "metrics_summary.json").is_file()
        pictures = sorted((folder / "pictures").glob("*.jpg"))
        assert len(pictures) == FRAMES
        height, width, _ = cv2.imread(str(pictures[0])).shape
        row = cv2.imread(str(pictures[0]))[height - width // 3 :]
        drawn = [row[:, i * width // 3 : (i + 1) * width // 3].mean() > 2.0 for i in range(3)]
        assert drawn == [place < panels for place in range(3)]


def test_an_interrupted_teacher_goes_on_and_appears_when_it_has_ended(data, tmp_path, monkeypatch):
    recipes(data, tmp_path)
    config = distilled_run(data, tmp_path / "teacher.safetensors")
    config.distill.teacher_recipe = str(tmp_path / "teacher.yaml")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 0)
        with pytest.raises(KeyboardInterrupt):
            train_missing_teachers(config, [])
    assert not Path(config.distill.teacher).exists()
    assert train_missing_teachers(config, []) == [tmp_path / "teacher"]
    assert train_missing_teachers(config, []) == []
    given = (load_file(path) for path in (config.distill.teacher, tmp_path / "teacher" / "weights.safetensors"))
    first, second = given
    assert all(torch.equal(first[name], second[name]) for name in second)
