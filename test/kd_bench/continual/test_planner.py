"""Runs of arms: chains of updates, what each learns from, and what makes a training unique. Nothing is trained."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.tiny_runs import student_run

from kd_bench.continual.arms import (
    ARMS,
    DERPP,
    FINE_TUNE,
    FIRST,
    JOINT,
    LWF,
    NO_HUMAN,
    OURS,
    REPLAY,
    SEEDS,
    UPDATE_RECIPE,
    Lesson,
    whole_plan,
)
from kd_bench.continual.cli import chosen_lessons
from kd_bench.continual.domains import (
    CITIES,
    DAY_NIGHT,
    FIVE_FIVE,
    NEW_CLASSES,
    OLD_CLASSES,
    SEQUENCES,
    WORLDS,
    plans_of,
)
from kd_bench.continual.planner import CALIBRATION_SCENES, LearningInputs, LearningPlanner, LearningSettings
from kd_bench.continual.run import BUFFER_FOLDER, DomainRun
from kd_bench.ledger.splits import Split
from kd_bench.ledger.worker import TRAINED_FILE
from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import CLASSES
from kd_perception.resources import resource
from kd_training.config.distill import DistillConfig
from kd_training.config.experiment import config_from_yaml, load_student_config
from kd_training.config.sections import DataRoot
from kd_training.models.students import build_student

SETTINGS = LearningSettings(steps=20, update_steps=4, batch=1)


@pytest.fixture
def inputs(tmp_path) -> LearningInputs:
    """The plans' sets, which nobody rendered, and files that stand for weights."""
    splits = {
        name: Split(
            DataRoot(root=str(tmp_path / name), version="v"), name,
            tuple(f"{name} {index}" for index in range(plan.scenes)), plan.scenes * plan.frames,
            dict.fromkeys(CLASSES, 80),
        )
        for name, plan in plans_of(WORLDS).items()
    }  # fmt: skip
    known, start, teacher = (tmp_path / f"{name}.safetensors" for name in ("known", "start", "teacher"))
    for path in (known, start, teacher):
        path.write_bytes(path.name.encode())
    recipe = replace(student_run(tmp_path), distill=DistillConfig(teacher="shipped"))
    return LearningInputs("tiny", splits, recipe, known, start, teacher, tmp_path / "runs")


def chain(inputs: LearningInputs, arm, sequence=CITIES, seed: int = 0) -> list[DomainRun]:
    return list(LearningPlanner(SETTINGS, inputs).chain(Lesson(sequence, arm, seed)))


def ordered(run: DomainRun):
    """The configuration that a worker gets."""
    return config_from_yaml(run.order(1).config, "order")


def test_an_arm_learns_domain_after_domain_from_the_run_before(inputs):
    runs = chain(inputs, OURS)
    assert [(run.arm, run.domain) for run in runs] == [
        (FIRST, "city_a_day"), (OURS.name, "city_b_day"), (OURS.name, "night"), (OURS.name, "rain")
    ]  # fmt: skip
    assert runs[0].weights == inputs.known and not ordered(runs[0]).continual.student
    assert (runs[0].is_known, runs[0].steps, runs[1].is_known) == (True, 0, False)
    for before, run in zip(runs, runs[1:], strict=False):
        config = ordered(run)
        assert config.continual.student == str(before.folder / "weights.safetensors") and run.weights is None
        assert run.order(1).before == str(before.folder)
        assert (
            config.continual.replay.folder == str(run.folder / BUFFER_FOLDER) and config.continual.domain == run.domain
        )
        assert [Path(source.root).name for source in config.data.roots] == [f"{run.domain}_train"]
        assert (config.schedule.steps, config.schedule.anew) == (4, []) and not config.distill.inherit_head
    assert list(runs[-1].held_out) == [f"{name}_val" for name in CITIES.names]
    assert [run.needed for run in runs] == [True, True, True, False]


def test_a_buffer_holds_five_percent_of_the_sequence_and_only_of_arms_that_replay(inputs):
    keyframes = 20 * 4 * 16
    assert chain(inputs, REPLAY)[1].config.continual.buffer.keyframes == round(0.05 * keyframes)
    assert not chain(inputs, LWF)[1].replays and not ordered(chain(inputs, FINE_TUNE)[2]).continual.replay.folder


def test_joint_training_goes_on_from_the_known_student_and_sees_keyframes_as_often_as_fine_tuning(inputs):
    (run,) = chain(inputs, JOINT)
    assert (run.step, run.steps, len(run.config.data.roots)) == (3, 4 * 4, 4)
    assert run.weights == inputs.known and not run.needed and not run.is_known
    assert (run.config.schedule.anew, run.config.schedule.learning_rate) == ([], SETTINGS.update_rate)


def test_arms_differ_in_what_their_names_say(inputs):
    tuned, derpp, lwf = (chain(inputs, arm)[1].config.continual for arm in (FINE_TUNE, DERPP, LWF))
    assert (tuned.keep.weight, tuned.dark.logits, tuned.temperature.elastic) == (0.0, 0.0, False)
    assert derpp.dark.logits > 0 and derpp.keep.weight == 0.0 and derpp.buffer.reservoir == 1.0
    assert lwf.keep.foreground == 0.0 and lwf.keep.heatmap > 0
    ours = chain(inputs, OURS)[1].config.continual
    recipe = load_student_config(resource(UPDATE_RECIPE)).continual
    assert ours.blend_share == recipe.blend_share == 0.5
    assert tuned.blend_share == derpp.blend_share == lwf.blend_share == 1.0
    planner = LearningPlanner(SETTINGS, inputs)
    for name, arms in ARMS.items():
        sequence = next(sequence for sequence in SEQUENCES if sequence.name == name)
        learnt = [next(run for run in planner.chain(Lesson(sequence, arm, 0)) if run.arm != FIRST) for arm in arms]
        assert len({run.digest for run in learnt}) == len(arms)


def test_without_human_labels_the_teacher_labels_the_new_domain_alone(inputs):
    config = ordered(chain(inputs, NO_HUMAN, DAY_NIGHT)[1])
    assert not config.data.roots and [Path(source.root).name for source in config.data.unlabelled] == ["night_train"]
    assert config.distill.teacher == str(inputs.teacher)
    (calibration,) = config.data.pseudo.calibration
    assert "city_a_day_train" in calibration.root and len(calibration.scenes) == CALIBRATION_SCENES


def test_classes_join_and_the_labels_say_only_the_new_ones(inputs):
    first, update = chain(inputs, OURS, FIVE_FIVE)
    assert set(build_student(first.config.model).spec.classes.names) == set(OLD_CLASSES)
    assert build_student(update.config.model).spec.classes.names == CLASSES
    assert set(update.config.continual.labelled) == set(NEW_CLASSES)
    assert not set(first.config.data.roots[0].scenes) & set(update.config.data.roots[0].scenes)
    assert not first.is_known and first.weights == inputs.start and first.config.schedule.anew
    (joint,) = chain(inputs, JOINT, FIVE_FIVE)
    assert joint.steps == 40 and len(joint.config.data.roots) == 2 and joint.weights == inputs.start


def test_what_changes_a_result_changes_the_key_and_paths_do_not(inputs, tmp_path):
    run, first = chain(inputs, OURS)[1], chain(inputs, OURS)[0]
    assert chain(replace(inputs, folder=tmp_path / "elsewhere"), OURS)[1].key == run.key
    assert chain(inputs, OURS, DAY_NIGHT)[0].digest == first.digest  # one training for both
    others = [chain(inputs, OURS, seed=1)[1], chain(inputs, FINE_TUNE)[1], chain(inputs, OURS)[2]]
    for path in (inputs.teacher, inputs.known):
        path.write_bytes(b"another")
        others.append(chain(inputs, OURS)[1])
    assert len({run.digest, *(other.digest for other in others)}) == 6
    assert others[0].protocol == run.protocol != others[3].protocol


def test_runs_follow_once_the_ledger_and_the_folder_have_the_one_before(inputs):
    planner, lessons = LearningPlanner(SETTINGS, inputs), [Lesson(CITIES, OURS, 0), Lesson(CITIES, FINE_TUNE, 0)]
    (first,) = planner.runs(lessons, ())

    class Known:
        key = first.key

    assert list(planner.runs(lessons, [Known])) == [first]  # its weights are lost
    first.folder.mkdir(parents=True)
    (first.folder / TRAINED_FILE).touch()
    assert [run.arm for run in planner.runs(lessons, [Known])] == [FIRST, OURS.name, FINE_TUNE.name]


def test_the_plan_has_every_arm_and_seed_once_and_deciding_ones_first():
    plan = whole_plan()
    keys = [(lesson.sequence.name, lesson.arm.name, lesson.seed) for lesson in plan]
    assert len(set(keys)) == len(keys) == SEEDS * sum(map(len, ARMS.values()))
    assert keys[:3] == [("cities", name, 0) for name in ("fine_tune", "joint", "ours")]
    assert [lesson.arm for lesson in chosen_lessons(["night"], ["ours"], 2)] == [OURS, OURS]
    with pytest.raises(ConfigError, match="--arm 'mine' is unknown; choose from: fine_tune, joint"):
        chosen_lessons(None, ["mine"], 0)
