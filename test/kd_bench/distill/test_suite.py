"""`kd bench distill`: a whole tiny suite and its ledger, runs that are stopped or fail, and what makes a run unique."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import student_run, teacher_run

from kd_bench.distill.arms import BASELINE, DISTILL, GRID, NONE, Arm, GridArm, Suite
from kd_bench.distill.ledger import Record, accuracy, read_ledger
from kd_bench.distill.report import write_distill_report
from kd_bench.distill.runner import RunContext, RunError, execute, folder_of, missing
from kd_bench.distill.splits import (
    REPORTED,
    TRAIN,
    TUNED,
    SplitPlan,
    open_split,
    open_splits,
    render_missing,
)
from kd_bench.distill.suite_runs import START, Given, Run, Settings, SuitePlan
from kd_bench.distill.suite_runs import teacher_run as plan_teacher
from kd_bench.distill.worker import (
    HeldError,
    Order,
    held,
    score_file,
    training_seconds,
    work,
    write_order,
)
from kd_perception.errors import DataError
from kd_training.checkpoints.checkpoint import STATE_FILE, WEIGHTS_FILE
from kd_training.checkpoints.models import load_teacher
from kd_training.config.distill import LayerPair
from kd_training.config.experiment import to_yaml
from kd_training.config.sections import DataRoot
from kd_training.data.frames import open_dataset
from kd_training.evaluation.teacher import evaluate_teacher
from kd_training.loop.train import kept_weights, train

STEPS = 6
SETTINGS = Settings(steps=STEPS, batch=1, warmup_steps=2, seeds=1)
LAYERS = [LayerPair("half", "block2"), LayerPair("pre_head", "pre_head")]
TAUGHT = replace(DISTILL, distill=replace(DISTILL.distill, layers=LAYERS))
TINY = Suite("main", "Tiny", ("tiny",), (NONE, TAUGHT))


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Given:
    """A student's and a teacher's weights after one step, and one data set that plays all splits."""
    folder = tmp_path_factory.mktemp("tiny_suite")
    data = write_dataset(folder / "data")
    assert train(student_run(data, 1), folder / "student") and train(teacher_run(data, 1), folder / "teacher")
    split = open_split(DataRoot(root=str(data), version=VERSION))
    return Given(
        splits=dict.fromkeys((TRAIN, REPORTED, TUNED), split),
        teachers={"centerpoint": folder / "teacher" / WEIGHTS_FILE},
        configs={"tiny": student_run(data, STEPS)},
        starts={"tiny": folder / "student" / WEIGHTS_FILE},
    )


def run_context(folder: Path) -> RunContext:
    return RunContext(folder / "runs", folder / "ledger.jsonl", 2, 1, time.monotonic() + 600.0, lambda text: None)


def planned_run(given: Given, arm: Arm = NONE, seed: int = 0, settings: Settings = SETTINGS) -> Run:
    return SuitePlan(TINY, settings, given).student_run("tiny", arm, seed, REPORTED)


def order_of(run: Run) -> Order:
    return Order(to_yaml(run.config), str(run.weights), run.scored, run.split, run.source.root, run.source.version, 1)


def test_a_suite_fills_the_ledger_and_is_then_done(given, tmp_path):
    def planned(records: tuple[Record, ...]) -> list[Run]:
        return list(SuitePlan(TINY, SETTINGS, given).reported_runs(records))

    context = run_context(tmp_path)
    assert execute(planned, context)
    records = read_ledger(context.ledger).records
    scored = {(record.arm, record.step) for record in records}
    assert scored == {(START, 1), (BASELINE, 4), (BASELINE, STEPS), ("distill", STEPS)}
    students = [record for record in records if record.arm in (BASELINE, "distill")]
    assert len({record.protocol for record in students}) == 1 and all(record.seconds > 0 for record in students)
    assert not missing(planned, context.ledger)
    files = write_distill_report(records, tmp_path / "distill.md")
    text = files[0].read_text()
    assert "| distill/centerpoint | 1 |" in text and "Missing from the suite" in text and all(map(Path.is_file, files))


def test_a_given_teacher_is_scored_as_it_is(given, tmp_path):
    run = plan_teacher("centerpoint", given.teachers["centerpoint"], "", given.splits)
    write_order(tmp_path, Order("", str(run.weights), run.scored, run.split, run.source.root, run.source.version, 1))
    assert work(tmp_path)
    expected = evaluate_teacher(load_teacher(run.weights), open_dataset(run.source), tmp_path / "again")
    assert run.steps == 1
    assert json.loads(score_file(tmp_path, REPORTED, 1).read_text()) == json.loads(json.dumps(accuracy(expected)))


def test_time_that_is_up_starts_nothing(given, tmp_path):
    context = replace(run_context(tmp_path), deadline=time.monotonic())
    assert not execute(lambda records: [SuitePlan(TINY, SETTINGS, given).start_run("tiny", REPORTED)], context)
    assert not context.folder.exists()


def test_a_failed_run_is_named_and_leaves_no_record(given, tmp_path):
    broken = replace(planned_run(given), weights=tmp_path / "absent.safetensors")
    context = run_context(tmp_path)
    with pytest.raises(RunError, match="run tiny-none-seed0 failed .*absent.safetensors does not exist"):
        execute(lambda records: [broken], context)
    assert not read_ledger(context.ledger).records


def test_an_interrupted_worker_goes_on_and_ends_with_the_same_weights(given, tmp_path, monkeypatch):
    run = planned_run(given)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        write_order(folder, order_of(run))
    assert work(straight)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert not work(stopped)
    assert (stopped / STATE_FILE).is_file() and not score_file(stopped, REPORTED, STEPS).exists()
    first_session = training_seconds(stopped)
    assert work(stopped)
    assert training_seconds(stopped) > first_session > 0 and not (stopped / STATE_FILE).exists()
    for name in (WEIGHTS_FILE, kept_weights(Path(), 4).name):
        expected, found = load_file(straight / name), load_file(stopped / name)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    for step in run.scored:
        assert score_file(straight, REPORTED, step).read_text() == score_file(stopped, REPORTED, step).read_text()


def test_a_run_that_another_process_has_taken_is_left_to_it(given, tmp_path):
    context, run = run_context(tmp_path), planned_run(given)
    folder = folder_of(run, context)
    folder.mkdir(parents=True)
    with held(folder), pytest.raises(HeldError, match="another process works in"), held(folder):
        pass
    with held(folder):
        assert not execute(lambda records: [run], context)
    assert not read_ledger(context.ledger).records
    with held(folder):
        pass


def test_what_changes_a_result_changes_the_key_and_nothing_else_does(given, tmp_path):
    run = planned_run(given)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(given.starts["tiny"].read_bytes())
    base = given.configs["tiny"]
    elsewhere = replace(
        given,
        starts={"tiny": moved},
        configs={"tiny": replace(base, schedule=replace(base.schedule, save_minutes=9.0, log_steps=50))},
    )
    assert planned_run(elsewhere).key(STEPS) == run.key(STEPS)
    deeper = {"tiny": replace(base, loss=replace(base.loss, depth=0.0))}
    others = [
        planned_run(given, seed=1), planned_run(given, TAUGHT),
        planned_run(replace(given, configs=deeper)),
        planned_run(replace(given, starts={"tiny": given.teachers["centerpoint"]})),
        planned_run(given, settings=replace(SETTINGS, steps=7)),
    ]  # fmt: skip
    assert len({run.key(6), *(other.key(6) for other in others)}) == 1 + len(others)
    assert [other.protocol == run.protocol for other in others] == [True, True, False, False, False]


def test_the_bev_half_is_reinitialised_or_continued(given):
    """Alike for every arm of a seed; where it goes on, the head is kept and adapters learn first."""
    anew, taught = planned_run(given), planned_run(given, TAUGHT)
    assert anew.config.schedule.anew == taught.config.schedule.anew == ["encoder", "head"]
    assert taught.config.distill.inherit_head and taught.config.distill.adapter_steps == 0
    onward = replace(SETTINGS, continued=True)
    going, led = planned_run(given, settings=onward), planned_run(given, TAUGHT, settings=onward)
    assert going.config.schedule.anew == led.config.schedule.anew == []
    assert not led.config.distill.inherit_head and led.config.distill.adapter_steps > 0
    assert (anew.begins, going.begins) == ("anew", "continued") and anew.protocol != going.protocol


def test_runs_come_seed_by_seed_and_a_grid_waits_for_its_points(given):
    points = tuple(replace(TAUGHT, name=f"fixed_{index}") for index in range(2))
    points = (points[0], replace(points[1], distill=replace(points[1].distill, inherit_head=False)))
    suite = replace(TINY, arms=(NONE, TAUGHT, GridArm(GRID.name, points)))
    settings = replace(SETTINGS, seeds=2)
    plan = SuitePlan(suite, settings, given)
    waiting = list(plan.reported_runs(()))
    order = [(run.arm, run.seed, run.split) for run in waiting]
    assert order[:5] == [
        (START, 0, REPORTED), (BASELINE, 0, REPORTED), ("distill", 0, REPORTED), (BASELINE, 1, REPORTED),
        ("distill", 1, REPORTED),
    ]  # fmt: skip
    assert [entry[0::2] for entry in order[5:]] == [("fixed_0", TUNED), ("fixed_1", TUNED)]
    scores = [_record(run, mean_ap) for run, mean_ap in zip(waiting[5:], (0.1, 0.2), strict=True)]
    chosen = list(plan.reported_runs(scores))[7:]
    assert [(run.arm, run.seed, run.split) for run in chosen] == [(GRID.name, 0, REPORTED), (GRID.name, 1, REPORTED)]
    assert not any(run.config.distill.inherit_head for run in chosen)


def test_splits_are_rendered_and_must_not_share_a_scene(tmp_path):
    plans = {TRAIN: SplitPlan(scenes=1, seed=1, frames=1, width=176, height=64)}
    render_missing(tmp_path, plans, 1, lambda name, done, total: None)
    split = open_splits(tmp_path, plans)[TRAIN]
    assert split.keyframes == 1 and split.scenes == ("synth-1-0000",)
    assert len(split.shortages()) == 2 and "only 1 of 20 scenes" in split.shortages()
    (tmp_path / REPORTED).symlink_to(tmp_path / TRAIN)
    with pytest.raises(DataError, match="scene synth-1-0000 is in two of train, val"):
        open_splits(tmp_path, (TRAIN, REPORTED))


def _record(run: Run, mean_ap: float) -> Record:
    return Record(
        suite=run.suite, student=run.student, teacher=run.teacher, arm=run.arm, seed=run.seed, split=run.split,
        step=run.steps, steps=run.steps, batch=run.batch, mAP=mean_ap, NDS=mean_ap, mATE=1.0, mASE=1.0, mAOE=1.0,
        mAVE=1.0, mAAE=1.0, AP={}, truths={}, seconds=1.0, device="", command="", commit="", start=run.start,
        begins=run.begins, protocol=run.protocol, key=run.key(run.steps),
    )  # fmt: skip
