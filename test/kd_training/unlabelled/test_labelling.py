"""From a teacher's answers to a student's training: labels are made once, hidden ones never read, misfits named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.nuscenes_tables import SCENES, VERSION, without_rows, write_dataset
from support.painted_teacher import PaintedTeacher, things_in_ego
from support.tiny_runs import distilled_run, teacher_run
from typer.testing import CliRunner

from kd_perception.cli import app
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, save_weights
from kd_training.config.experiment import TrainConfig, to_yaml
from kd_training.config.sections import DataRoot
from kd_training.data.batches import build_sampler
from kd_training.data.frames import facts_of
from kd_training.data.pseudo_labels import read_pseudo_labels, write_pseudo_labels
from kd_training.data.unlabelled_sets import LABELS_FOLDER, open_student_frames
from kd_training.evaluation.teacher import TeacherDetector
from kd_training.loop.train import train
from kd_training.models.teachers import build_teacher
from kd_training.tasks import build_task
from kd_training.unlabelled.labelling import ANSWERS_FOLDER, INDEX_FILE, Labelling, label_missing
from kd_training.unlabelled.thresholds import THRESHOLDS_FILE

LABELLED, UNLABELLED = SCENES
CAR, BUS, TRUCK, PEDESTRIAN = (CLASSES.index(name) for name in ("car", "bus", "truck", "pedestrian"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A tiny teacher's, which its tests never ask: PaintedTeacher answers for it."""
    torch.manual_seed(0)
    config = teacher_run(Path("none"))
    target = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_weights(build_teacher(config.teacher).state_dict(), config, target)
    return target


@pytest.fixture
def teacher(monkeypatch) -> PaintedTeacher:
    painted = PaintedTeacher()
    monkeypatch.setattr(TeacherDetector, "outputs", lambda detector, frame: painted.outputs(detector, frame))
    return painted


def half_labelled(data: Path, weights: Path, folder: Path) -> TrainConfig:
    """One scene is labelled, the other is not."""
    config = distilled_run(data, weights, steps=2)
    one, other = (DataRoot(root=str(data), version=VERSION, scenes=[scene]) for scene in SCENES)
    config.data.roots, config.data.unlabelled, config.data.validation = [one], [other], []
    config.data.pseudo.folder = str(folder)
    return config


def with_annotations(source: Path, target: Path, change) -> Path:
    """The same data set, in which `change` has been at the rows of sample_annotation."""
    (target / VERSION).mkdir(parents=True)
    for table in (source / VERSION).iterdir():
        rows = json.loads(table.read_text())
        (target / VERSION / table.name).write_text(json.dumps(change(rows) if "annotation" in table.name else rows))
    for folder in ("samples", "sweeps"):
        (target / folder).symlink_to(source / folder)
    return target


def scrambled(rows: list[dict]) -> list[dict]:
    """Annotations of the unlabelled scene at other places, of other sizes, without points."""
    first = min(row["translation"][0] for row in rows)
    return [
        row | {"translation": [0.0, 0.0, 0.0], "size": [9.0, 9.0, 9.0], "num_lidar_pts": 0}
        if row["translation"][0] > first + 30.0
        else row
        for row in rows
    ]


def test_a_teacher_labels_once_and_the_hidden_labels_are_never_read(data, weights, teacher, tmp_path):
    """Runs on data sets that differ in the unlabelled scene's annotations alone end in the same weights."""
    ends = []
    for root in (data, with_annotations(data, tmp_path / "data", scrambled)):
        config = half_labelled(root, weights, tmp_path / f"labels {len(ends)}")
        assert train(config, tmp_path / f"run {len(ends)}")
        ends.append(load_file(tmp_path / f"run {len(ends)}" / WEIGHTS_FILE))
    assert all(torch.equal(value, ends[0][key]) for key, value in ends[1].items())
    assert len(teacher.asked) == 2 * 6  # calibration and labelling, each keyframe once
    assert label_missing(config) is None


def test_what_is_sure_is_truth_what_is_unsure_is_in_doubt(data, weights, teacher, tmp_path):
    config = half_labelled(data, weights, tmp_path)
    labelled = Labelling(config).label()
    assert labelled.keyframes == 3 and "fewer than 30 labelled boxes" in " ".join(labelled.sentences())
    frames = open_student_frames(config.data, NUSCENES)
    assert [facts.labelled for facts in facts_of(frames)] == [True] * 3 + [False] * 3
    for place in range(3, 6):
        frame, facts = frames[place], facts_of(frames)[place]
        things = things_in_ego(frame)
        near = things[(np.abs(things.center[:, :2]) < 12.8).all(axis=1)]
        sure = near[near.score >= 0.5]
        order = [np.lexsort(np.round(boxes.center[:, :2]).T) for boxes in (sure, frame.boxes)]
        np.testing.assert_allclose(frame.boxes.center[order[1]], sure.center[order[0]], atol=1e-5)
        np.testing.assert_allclose(frame.boxes.velocity, 0.0, atol=1e-4)
        assert facts.present[CAR] and not facts.present[TRUCK]
        assert set(frame.doubt.everywhere) == set(range(len(CLASSES))) - set(sure.label)
    assert not frames[0].doubt and frames[0].labelled


def test_cells_in_doubt_reach_the_batches_with_the_weight(data, weights, teacher, tmp_path):
    config = half_labelled(data, weights, tmp_path)
    config.data.pseudo.weight, config.data.pseudo.share = 0.5, 0.5
    label_missing(config)
    batch = build_task(config).batches(RunPlan(steps=4))[0]
    assert [shown.key.rsplit("/", 1)[0] for shown in batch.shown] == [f"{data}/{VERSION}"] * 2
    cells = batch.ground_truth.trust.cells
    assert (cells[0] == 1.0).all()
    assert set(np.unique(cells[1])) == {0.0, 0.5} and (cells[1, PEDESTRIAN] == 0.0).all()


def test_batches_hold_the_share_that_is_asked_for(data, weights, teacher, tmp_path):
    config = half_labelled(data, weights, tmp_path)
    label_missing(config)
    frames = open_student_frames(config.data, NUSCENES)
    for balance in (True, False):
        config.data.balance_classes, config.data.pseudo.share = balance, 0.25
        sampler = build_sampler(frames, config)
        kinds = [sampler.at(position, np.random.default_rng(position)).labelled for position in range(40)]
        assert [sum(kinds[k : k + 4]) for k in range(0, 40, 4)] == [3] * 10
    config.data.pseudo.share = 0.0
    sampler = build_sampler(frames, config)
    assert sum(sampler.at(position, np.random.default_rng(position)).labelled for position in range(6)) == 3


def test_interrupted_it_goes_on_where_it_stopped(data, weights, teacher, tmp_path):
    config = half_labelled(data, weights, tmp_path)
    teacher.stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        label_missing(config)
    teacher.stop_at = 100
    assert label_missing(config) is not None
    assert len(teacher.asked) == 4 + 3  # the first scene was kept, the second starts over
    assert label_missing(config) is None
    config.data.pseudo.tracked = 2  # other settings need no teacher
    assert label_missing(config) is not None
    assert len(teacher.asked) == 4 + 3


def test_a_robot_without_any_label_learns_from_its_teacher(data, weights, teacher, tmp_path):
    bare = with_annotations(data, tmp_path / "bare", lambda rows: [])
    config = half_labelled(bare, weights, tmp_path / "labels")
    config.data.roots, config.data.unlabelled = [], [DataRoot(root=str(bare), version=VERSION)]
    assert train(config, tmp_path / "run")
    thresholds = json.loads((tmp_path / "labels" / THRESHOLDS_FILE).read_text())
    assert thresholds["classes"]["car"]["note"] == "nothing is labelled to calibrate on"


def test_the_command_tells_thresholds_and_with_score_the_truth(data, weights, teacher, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(to_yaml(half_labelled(data, weights, tmp_path / "labels")))
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["label", str(path), "--score"])
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line.split() for line in done.output.splitlines() if line.strip()}
    assert "the teacher labelled 9 boxes on 3 keyframes" in done.output
    assert rows["car"] == ["car", "6", "1.00", "1.00", "1.00", "1.00", "0.00"]
    assert (tmp_path / "labels" / "thresholds.png").stat().st_size > 1000


def test_what_does_not_fit_is_named(data, weights, teacher, tmp_path):
    config = half_labelled(data, weights, tmp_path)
    overlapping = replace(config.data, unlabelled=[DataRoot(root=str(data), version=VERSION)])
    with pytest.raises(ConfigError, match="is in data.roots and in data.unlabelled"):
        Labelling(replace(config, data=overlapping))
    with pytest.raises(ConfigError, match="run kd label first"):
        build_task(config).batches(RunPlan(steps=1))[0]
    with pytest.raises(ConfigError, match="distill.teacher names none"):
        Labelling(replace(config, distill=replace(config.distill, teacher=""))).label()
    teacher.scores = 0.2
    with pytest.raises(DataError, match="sure of nothing on data.unlabelled \\(best score 0.18\\)"):
        Labelling(config).label()


def test_a_keyframe_that_came_later_has_no_labels(data, weights, teacher, tmp_path):
    config = half_labelled(data, weights, tmp_path)
    label_missing(config)
    (path,) = (tmp_path / LABELS_FOLDER).iterdir()
    labels = read_pseudo_labels(path, NUSCENES)
    write_pseudo_labels(path, dict(list(labels.items())[1:]))
    with pytest.raises(ConfigError, match=f"1 of 3 keyframes of scene '{UNLABELLED}' .* run kd label again"):
        facts_of(open_student_frames(config.data, NUSCENES))


def test_a_teacher_of_other_classes_does_not_label(data, weights, tmp_path):
    config = half_labelled(data, weights, tmp_path)
    config.model.classes = {
        "groups": [
            {"nms_radius": 1.0, "classes": [{"name": "cart", "color": [1, 2, 3], "range": 9.0, "categories": ["x"]}]}
        ]
    }
    with pytest.raises(ConfigError, match="and never learnt cart; the student has cart"):
        Labelling(config).label()


def test_another_teachers_folder_is_left_alone(data, weights, teacher, tmp_path):
    config = half_labelled(data, weights, tmp_path)
    label_missing(config)
    index = json.loads((tmp_path / INDEX_FILE).read_text())
    (tmp_path / INDEX_FILE).write_text(json.dumps(index | {"teacher": "another"}))
    with pytest.raises(ConfigError, match="holds labels of another teacher"):
        label_missing(config)


def test_unlabelled_keyframes_need_clouds(weights, tmp_path):
    blind = without_rows(write_dataset(tmp_path / "data"), f"{UNLABELLED}__LIDAR")
    with pytest.raises(DataError, match="3 of 3 keyframes of data.unlabelled have no LiDAR"):
        Labelling(half_labelled(blind, weights, tmp_path))


@pytest.mark.parametrize(
    ("part", "message"),
    [(ANSWERS_FOLDER, "no readable answers of a teacher"), (LABELS_FOLDER, "no readable labels"), ("", "is damaged")],
)
def test_broken_files_are_named(data, weights, teacher, tmp_path, part, message):
    config = half_labelled(data, weights, tmp_path)
    label_missing(config)
    for path in (tmp_path / part).iterdir() if part else [tmp_path / INDEX_FILE]:
        path.write_bytes(path.read_bytes()[:-40])
    if part == ANSWERS_FOLDER:  # finished labels need none of them
        config.data.pseudo.tracked = 2
    with pytest.raises(DataError, match=message):
        train(config, tmp_path / "run")
