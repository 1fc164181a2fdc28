"""A chain of two tiny runs with a buffer between them, as workers carry them out: from orders to the ledger."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.tiny_runs import student_run, teacher_run

from kd_bench.continual.arms import OURS, Lesson
from kd_bench.continual.domains import DAY, NIGHT, Domain, DomainSequence
from kd_bench.continual.known_worker import take_known
from kd_bench.continual.planner import LearningInputs, LearningPlanner, LearningSettings
from kd_bench.continual.records import continual_ledger
from kd_bench.continual.run import BUFFER_FOLDER
from kd_bench.continual.worker import bring_buffer, domain_training
from kd_bench.ledger.splits import open_split
from kd_bench.ledger.worker import work, write_order
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config, read_weights
from kd_training.config.continual import BufferConfig, ContinualConfig, ReplayConfig
from kd_training.config.distill import AttentionConfig, DistillConfig, FeatureConfig, ResponseConfig
from kd_training.config.sections import DataRoot
from kd_training.data.replay_buffer import BUFFER_VERSION, read_buffer
from kd_training.loop.train import train

SETTINGS = LearningSettings(steps=3, update_steps=2, batch=1, warmup_steps=1)
ANSWERS = DistillConfig(
    feature=FeatureConfig(weight=0.0), attention=AttentionConfig(weight=0.0), response=ResponseConfig(heatmap=1.0)
)
SMALL = replace(OURS, update=ContinualConfig(buffer=BufferConfig(least=2, sweeps=1)))
HALVES = DomainSequence("night", "Two halves of one set", (
    Domain("first_half", DAY, scenes=(0.0, 0.5)), Domain("second_half", NIGHT, scenes=(0.5, 1.0)),
))  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> LearningInputs:
    """One painted set that plays all worlds, and weights after one step."""
    folder = tmp_path_factory.mktemp("tiny_chain")
    data = write_dataset(folder / "data")
    assert train(student_run(data, 1), folder / "student") and train(teacher_run(data, 1), folder / "teacher")
    split = open_split(DataRoot(root=str(data), version=VERSION))
    names = [name for world in (DAY, NIGHT) for name in world.plans]
    recipe, known = replace(student_run(data), distill=ANSWERS), folder / "student" / WEIGHTS_FILE
    teacher = folder / "teacher" / WEIGHTS_FILE
    return LearningInputs("tiny", dict.fromkeys(names, split), recipe, known, known, teacher, folder / "runs")


def test_a_chain_fills_the_ledger_and_each_update_leaves_a_grown_buffer(inputs, tmp_path):
    ledger = continual_ledger(tmp_path / "continual.jsonl")
    for run in LearningPlanner(SETTINGS, inputs).chain(Lesson(HALVES, SMALL, 0)):
        run.folder.mkdir(parents=True)
        write_order(run.folder, run.order(1))
        trainer = take_known if run.is_known else domain_training
        assert work(run.folder, trainer) and work(run.folder, trainer)  # the second time finds it done
        ledger.append([run.record()])
    first, update = ledger.read().records
    assert (first.arm, update.arm, first.domain, update.domain) == ("first", "ours", "first_half", "second_half")
    known, taken = (read_weights(path)[0] for path in (inputs.known, run.before.folder / WEIGHTS_FILE))
    assert first.steps == 0 and all(torch.equal(taken[name], value) for name, value in known.items())
    assert set(update.scores) == {"city_a_day_val", "night_val"} and update.seconds > 0 and update.buffer > 0
    buffer = read_buffer(run.folder / BUFFER_FOLDER)
    assert [domain.name for domain in buffer.state.domains] == ["first_half", "second_half"]
    replay = ReplayConfig(str(tmp_path / "next" / BUFFER_FOLDER))
    bring_buffer(run.folder, replace(run.config, continual=ContinualConfig(replay=replay)))
    brought = read_buffer(Path(replay.folder))  # where the next update adds its domain
    assert brought.entries == buffer.entries and (brought.folder / BUFFER_VERSION).is_symlink()
    assert checkpoint_config(run.folder / WEIGHTS_FILE).data.roots[0].scenes == [SCENES[1]]
