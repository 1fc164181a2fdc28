"""`kd bench distill`: a whole tiny suite and its ledger, runs that are stopped or fail, and what makes a run unique."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.tiny_runs import student_run, teacher_run

from kd_bench.distill.common_arms import ANSWERS, CENTERPOINT, CENTERPOINT_TENTH, NONE, NONE_SHORT
from kd_bench.distill.few_labels import held_back, labelled, shown_to_teacher
from kd_bench.distill.ledger import Record, distill_ledger
from kd_bench.distill.report import write_distill_report
from kd_bench.distill.run import TEACHER, Run
from kd_bench.distill.splits import REPORTED, TRAIN, TUNED
from kd_bench.distill.suite import Arm, Start, Suite, whole
from kd_bench.distill.suite_runs import ENCODER, Given, Planner, Settings
from kd_bench.ledger.accuracy import accuracy
from kd_bench.ledger.clock import PROCESSOR, read_spent
from kd_bench.ledger.digests import YoungerKey, hashed_yaml
from kd_bench.ledger.pool import Planned, RunContext, RunError, execute, missing
from kd_bench.ledger.splits import SplitPlan, open_split, open_splits, render_missing
from kd_bench.ledger.starts import demo_student
from kd_bench.ledger.worker import (
    TRAINED_FILE,
    HeldError,
    Order,
    held,
    score_file,
    work,
    write_order,
)
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import DataError
from kd_training.checkpoints.checkpoint import STATE_FILE, WEIGHTS_FILE
from kd_training.checkpoints.models import load_teacher
from kd_training.config.continual import ContinualConfig, ReplayConfig
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.distill import DistillConfig, LabelFeatureConfig, LayerPair, PearsonConfig
from kd_training.config.sections import DataRoot
from kd_training.data.frames import open_dataset
from kd_training.evaluation.teacher import evaluate_teacher
from kd_training.loop.train import train

SETTINGS = Settings(steps=6, batch=1, warmup_steps=2)
LAYERS = [LayerPair("half", "block2"), LayerPair("pre_head", "pre_head")]
ALONE = replace(NONE, seeds=1)
TAUGHT = Arm("answers", CENTERPOINT, replace(ANSWERS, layers=LAYERS), seeds=1)
TINY = Suite("main", "Tiny", "tiny", (ALONE, TAUGHT), "none")


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Given:
    """A student's and a teacher's weights after one step, and one data set that plays all splits."""
    folder = tmp_path_factory.mktemp("tiny_suite")
    data = write_dataset(folder / "data")
    assert train(student_run(data, 1), folder / "student") and train(teacher_run(data, 1), folder / "teacher")
    split = open_split(DataRoot(root=str(data), version=VERSION))
    return Given(
        splits=dict.fromkeys((TRAIN, REPORTED, TUNED), split),
        configs={"tiny": student_run(data, 6)},
        start=folder / "student" / WEIGHTS_FILE,
        teachers={CENTERPOINT: folder / "teacher" / WEIGHTS_FILE},
        folder=folder / "runs",
    )


def run_context(folder: Path) -> RunContext:
    return RunContext(distill_ledger(folder / "ledger.jsonl"), 2, 1, time.monotonic() + 600.0, lambda text: None)


def planned_run(given: Given, arm: Arm = ALONE, seed: int = 0, suite: Suite = TINY, settings=SETTINGS) -> Run:
    return Planner(settings, given).student_run(suite, arm, seed)


def order_of(run: Run) -> Order:
    return run.order(threads=1)


def only(run: Run) -> Planned:
    return lambda records: [run]


@pytest.mark.slow
def test_a_suite_fills_the_ledger_and_is_then_done(given, tmp_path):
    planner = Planner(SETTINGS, replace(given, folder=tmp_path / "runs"))

    def planned(records: Sequence[Record]) -> list[Run]:
        return list(planner.runs([whole(TINY)], records))

    said: list[str] = []
    context = replace(run_context(tmp_path), together=True, report=said.append)
    assert execute(only(planner.teacher_run(CENTERPOINT)), context)
    assert execute(planned, context)
    assert "[bold]tiny-none-seed0, tiny-centerpoint-answers-seed0[/bold]: trained, scores follow" in said
    records = context.ledger.read().records
    assert {(record.arm, record.steps) for record in records} == {(TEACHER, 1), ("none", 6), ("answers", 6)}
    students = [record for record in records if record.suite != TEACHER]
    assert len({record.protocol for record in students}) == 1 and all(record.seconds > 0 for record in students)
    assert not missing(planned, context)
    files = write_distill_report([replace(record, student="bevdet4d") for record in records], tmp_path / "report.md")
    text = files[0].read_text()
    assert "| answers | 1 |" in text and "Missing (seeds there): none 1 of 5" in text and all(map(Path.is_file, files))


def test_a_given_teacher_is_scored_as_it_is(given, tmp_path):
    run = Planner(SETTINGS, given).teacher_run(CENTERPOINT)
    write_order(tmp_path, order_of(run))
    assert work(tmp_path)
    expected = evaluate_teacher(load_teacher(run.weights), open_dataset(run.source), tmp_path / "again")
    assert run.steps == 1
    assert json.loads(score_file(tmp_path, REPORTED).read_text()) == json.loads(json.dumps(accuracy(expected)))


def test_time_that_is_up_starts_nothing(given, tmp_path):
    context = replace(run_context(tmp_path), deadline=time.monotonic())
    assert not execute(only(planned_run(replace(given, folder=tmp_path / "runs"))), context)
    assert not (tmp_path / "runs").exists()


def test_a_failed_run_is_named_and_leaves_no_record(given, tmp_path):
    broken = replace(planned_run(replace(given, folder=tmp_path / "runs")), weights=tmp_path / "absent.safetensors")
    context = run_context(tmp_path)
    with pytest.raises(RunError, match="run tiny-none-seed0 failed .*absent.safetensors does not exist"):
        execute(only(broken), context)
    assert not context.ledger.read().records


def test_an_interrupted_worker_goes_on_and_ends_with_the_same_weights(given, tmp_path, monkeypatch):
    run = planned_run(given)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        write_order(folder, order_of(run))
    assert work(straight)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert not work(stopped)
    assert (stopped / STATE_FILE).is_file() and not score_file(stopped, REPORTED).exists()
    first_session = read_spent(stopped)
    assert work(stopped)
    both_sessions = read_spent(stopped)
    assert both_sessions.seconds > first_session.seconds > 0 and both_sessions.clock == PROCESSOR
    assert not (stopped / STATE_FILE).exists()
    expected, found = load_file(straight / WEIGHTS_FILE), load_file(stopped / WEIGHTS_FILE)
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert score_file(straight, REPORTED).read_text() == score_file(stopped, REPORTED).read_text()


def test_a_run_that_another_process_has_taken_is_left_to_it(given, tmp_path):
    context, run = run_context(tmp_path), planned_run(replace(given, folder=tmp_path / "runs"))
    folder = run.folder
    folder.mkdir(parents=True)
    with held(folder), pytest.raises(HeldError, match="another process works in"), held(folder):
        pass
    with held(folder):
        assert not execute(only(run), context)
    assert not context.ledger.read().records
    with held(folder):
        pass


def test_what_changes_a_result_changes_the_key_and_nothing_else_does(given, tmp_path):
    """Arms and seeds share the protocol; another start, other losses or other lengths do not."""
    run = planned_run(given)
    assert (run.steps, planned_run(given, NONE_SHORT).steps) == (6, 4)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(given.start.read_bytes())
    base = given.configs["tiny"]
    elsewhere = replace(
        given,
        start=moved,
        configs={"tiny": replace(base, schedule=replace(base.schedule, save_minutes=9.0, log_steps=50))},
    )
    assert planned_run(elsewhere).key == run.key
    deeper = {"tiny": replace(base, loss=replace(base.loss, depth=0.0))}
    others = [
        planned_run(given, seed=1), planned_run(given, TAUGHT), planned_run(given, NONE_SHORT),
        planned_run(given, replace(ALONE, labelled=2)),
        planned_run(replace(given, configs=deeper)),
        planned_run(replace(given, start=given.teachers[CENTERPOINT])),
        planned_run(given, settings=replace(SETTINGS, steps=7)),
    ]  # fmt: skip
    assert len({run.key, *(other.key for other in others)}) == 1 + len(others)
    assert [other.protocol == run.protocol for other in others] == [True, True, True, True, False, False, False]


def test_keys_that_are_younger_than_the_ledger_count_once_they_say_something_new():
    student = demo_student("bevdet")
    younger = [YoungerKey("data", "anchor", ""), YoungerKey("distill", "pearson", asdict(PearsonConfig()))]
    before = hashed_yaml(student, younger)
    assert "cross_scale:" not in before, "a student without a finer teacher is the same as before there were any"
    assert "cross_scale:" in hashed_yaml(replace(student, cross_scale=CrossScaleConfig(teacher="digest")), younger)
    assert "continual:" not in before, "a student that learns no new domain is the same as before there was one"
    replayed = replace(student, continual=ContinualConfig(replay=ReplayConfig(folder="buffer")))
    assert "folder: buffer" in hashed_yaml(replayed, younger)
    assert "anchor:" not in before and "pearson:" not in before and "anchor:" in hashed_yaml(student, ())
    assert "pearson:" in hashed_yaml(
        replace(student, distill=DistillConfig(pearson=PearsonConfig(weight=1.0))), younger
    )
    assert "anchor: CAM_BACK" in hashed_yaml(replace(student, data=replace(student.data, anchor="CAM_BACK")), younger)


def test_the_bev_half_begins_anew_or_everything_behind_imagenet(given):
    """Alike for every arm of a seed; the published baseline never saw LiDAR."""
    anew, taught = planned_run(given), planned_run(given, TAUGHT)
    assert anew.config.schedule.anew == taught.config.schedule.anew == ["encoder", "head"]
    assert anew.weights == given.start and taught.config.distill.inherit_head
    bare = replace(TINY, start=Start.imagenet, depth_loss=False)
    run = planned_run(given, suite=bare)
    assert (run.weights, run.start, run.config.schedule.anew, run.config.loss.depth) == (None, "", [], 0.0)
    assert run.protocol != anew.protocol


def test_every_nth_scene_is_labelled_for_student_and_teacher_alike(given):
    split = given.splits[TRAIN]
    assert labelled(split, 1).scenes == [] and labelled(split, 2).scenes == [SCENES[0]]
    assert planned_run(given, replace(ALONE, labelled=2)).config.data.roots[0].scenes == [SCENES[0]]
    many = replace(split, scenes=tuple(f"scene {number}" for number in range(80)))
    assert labelled(many, 10).scenes == [f"scene {number}" for number in range(0, 80, 10)]
    assert held_back(many, 10).scenes == ["scene 60", "scene 70"]
    assert shown_to_teacher(many, 10).scenes == labelled(many, 10).scenes[:6]
    assert shown_to_teacher(many, 1).scenes == held_back(many, 1).scenes == []
    teacher = Planner(SETTINGS, given).teacher_run(CENTERPOINT_TENTH)
    assert teacher.config.data.roots[0].scenes == [SCENES[0]] and teacher.needed


def test_a_teacher_labels_only_what_its_student_has_no_labels_of(given, tmp_path):
    """The calibrating scenes are labelled ones that the teacher did not learn from; paths do not change the key."""
    arm = replace(TAUGHT, labelled=2, unlabelled=0.5)
    data = planned_run(given, arm).config.data
    assert (data.roots[0].scenes, data.unlabelled[0].scenes) == ([SCENES[0]], [SCENES[1]])
    assert data.pseudo.share == 0.5 and not planned_run(given, TAUGHT).config.data.unlabelled
    assert planned_run(replace(given, folder=tmp_path), arm).key == planned_run(given, arm).key
    assert planned_run(given, replace(arm, unlabelled=0.0)).key != planned_run(given, arm).key


def test_a_trained_teacher_comes_before_its_students_and_is_trained_again_if_its_weights_are_lost(given, tmp_path):
    planner = Planner(SETTINGS, replace(given, folder=tmp_path))
    tenth = whole(replace(TINY, arms=(ALONE, replace(TAUGHT, teacher=CENTERPOINT_TENTH))))
    teacher, alone = list(planner.runs([tenth, tenth], ()))[::-1]
    assert (teacher.teacher, alone.arm) == (CENTERPOINT_TENTH, "none")
    known = [_record(teacher), _record(alone)]
    context = run_context(tmp_path)
    context.ledger.path.write_text("".join(json.dumps(vars(record)) + "\n" for record in known))
    assert missing(lambda records: planner.runs([tenth], records), context) == [teacher]
    folder = teacher.folder
    folder.mkdir()
    (folder / WEIGHTS_FILE).write_bytes(given.teachers[CENTERPOINT].read_bytes())
    assert len(list(planner.runs([tenth], known))) == 2  # weights of a training that has not ended
    (folder / TRAINED_FILE).touch()
    assert [run.arm for run in planner.runs([tenth], known)] == ["none", TEACHER, "answers"]


def test_a_label_encoder_comes_between_its_teacher_and_the_student(given, tmp_path):
    planner = Planner(SETTINGS, replace(given, folder=tmp_path))
    labels = replace(TAUGHT, distill=replace(TAUGHT.distill, labels=LabelFeatureConfig(weight=0.3)))
    slices = [whole(replace(TINY, arms=(labels,), baseline="answers"))]
    known = []
    for arms in ([TEACHER], [TEACHER, ENCODER], [TEACHER, ENCODER, "answers"]):
        runs = list(planner.runs(slices, known))
        assert [run.arm for run in runs] == arms
        known = [_record(run) for run in runs]
        folder = runs[-1].folder
        folder.mkdir()
        (folder / WEIGHTS_FILE).write_bytes(b"weights")
        (folder / TRAINED_FILE).touch()
    assert runs[-1].config.distill.labels.encoder == str(planner.weights_of(runs[1]))
    assert runs[1].config.labels.teacher == str(given.teachers[CENTERPOINT]) and runs[1].needed


def test_a_finer_student_comes_before_the_one_of_its_seed_that_it_teaches(given, tmp_path):
    planner = Planner(SETTINGS, replace(given, folder=tmp_path))
    fine = Arm("high_resolution", seeds=1, image=(128, 192))
    same, cross = (Arm(f"taught_by_{name}", seeds=1, camera_teacher=name) for name in ("none", fine.name))
    slices = [whole(Suite("scale", "Tiny", "tiny", (ALONE, fine, same, cross), "none"))]
    first = list(planner.runs(slices, []))
    assert [(run.arm, run.needed) for run in first] == [("none", True), (fine.name, True)]
    for run in first:
        run.folder.mkdir()
        (run.folder / WEIGHTS_FILE).write_bytes(run.arm.encode())
        (run.folder / TRAINED_FILE).touch()
    runs = list(planner.runs(slices, [_record(run) for run in first]))
    assert [run.arm for run in runs] == ["none", fine.name, same.name, cross.name]
    assert len({run.protocol for run in runs}) == 1 and len({run.digest for run in runs}) == 4
    for teacher, student in zip(runs[:2], runs[2:], strict=True):
        assert student.config.cross_scale.teacher == str(planner.weights_of(teacher)) == str(student.weights)
        assert student.config.schedule.anew == [] and not student.needed
    assert (runs[1].config.model.image_height, runs[3].config.model.image_height) == (128, 64)


def test_splits_are_rendered_and_must_not_share_a_scene(tmp_path):
    plans = {TRAIN: SplitPlan(scenes=1, seed=1, frames=1, width=176, height=64)}
    render_missing(tmp_path, plans, 1, lambda name, done, total: None)
    split = open_splits(tmp_path, plans)[TRAIN]
    assert split.keyframes == 1 and split.scenes == ("synth-1-0000",)
    assert len(split.shortages(scenes=24, boxes=100)) == 2 and "only 1 of 24 scenes" in split.shortages(
        scenes=24, boxes=100
    )
    tables = tmp_path / TRAIN / SYNTHETIC_VERSION / "scene.json"
    listed = tables.read_text()
    render_missing(tmp_path, {TRAIN: replace(plans[TRAIN], scenes=0)}, 1, lambda name, done, total: None)
    assert tables.read_text() == listed  # who needs fewer takes none away
    (tmp_path / REPORTED).symlink_to(tmp_path / TRAIN)
    with pytest.raises(DataError, match="scene synth-1-0000 is in two of train, val"):
        open_splits(tmp_path, (TRAIN, REPORTED))


def _record(run: Run) -> Record:
    return Record(
        suite=run.suite, student=run.student, teacher=run.teacher, arm=run.arm, seed=run.seed, split=run.split,
        steps=run.steps, batch=run.batch, mAP=0.1, NDS=0.1, mATE=1.0, mASE=1.0, mAOE=1.0, mAVE=1.0, mAAE=1.0, AP={},
        truths={}, seconds=1.0, device="", command="", commit="", start=run.start, protocol=run.protocol, key=run.key,
    )  # fmt: skip
