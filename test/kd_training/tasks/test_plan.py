"""From schedules to steps: epochs, class balance, and the samples of a step over micro-batches and processes."""

import numpy as np
import pytest
from support.nuscenes_tables import SCENES, VERSION, write_dataset

from kd_perception.errors import ConfigError
from kd_training.config.experiment import TeacherTrainConfig
from kd_training.config.sections import DataRoot, ScheduleConfig
from kd_training.config.teacher import LidarDataConfig, TeacherModelConfig
from kd_training.data.frames import open_frames
from kd_training.tasks.plan import epoch_samples, plan_run


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    root = write_dataset(tmp_path_factory.mktemp("painted"), samples=5)
    return open_frames([DataRoot(root=str(root), version=VERSION)])


def run_of(schedule: ScheduleConfig) -> TeacherTrainConfig:
    data = LidarDataConfig(roots=[], balance_classes=False)
    return TeacherTrainConfig(TeacherModelConfig(name="test"), data, schedule=schedule)


def test_an_epoch_is_every_keyframe_once_or_every_class_of_it(frames):
    assert epoch_samples(frames, balanced=False) == len(frames) == 5 * len(SCENES)
    classes = [len(np.unique(frame.boxes.label)) for frame in frames]
    assert min(classes) > 1 and epoch_samples(frames, balanced=True) == sum(classes)


def test_steps_are_taken_as_given_or_counted_from_epochs(frames):
    schedules = {
        7: ScheduleConfig(steps=7, batch=4),
        8: ScheduleConfig(epochs=3.0, batch=4),  # 30 samples, the last step short
        3: ScheduleConfig(epochs=3.0, batch=2, total_batch=10),
    }
    for steps, schedule in schedules.items():
        assert plan_run(run_of(schedule), frames, 0, 1).steps == steps


@pytest.mark.parametrize(("processes", "micro_batches"), [(1, 4), (2, 2), (4, 1)])
def test_a_step_has_the_same_samples_whatever_the_processes(frames, processes, micro_batches):
    schedule = ScheduleConfig(epochs=2.0, batch=2, total_batch=8)
    plans = [plan_run(run_of(schedule), frames, rank, processes) for rank in range(processes)]
    assert (plans[0].micro_batches, plans[0].steps) == (micro_batches, 3)
    second_step = range(micro_batches, 2 * micro_batches)
    positions = [position for plan in plans for index in second_step for position in plan.positions(index, 2)]
    assert sorted(positions) == list(range(8, 16))


def test_a_total_batch_that_does_not_divide_is_named(frames):
    with pytest.raises(ConfigError, match="total_batch 10 is no multiple of 4 samples in 2 process"):
        plan_run(run_of(ScheduleConfig(steps=1, batch=4, total_batch=10)), frames, 0, 2)
