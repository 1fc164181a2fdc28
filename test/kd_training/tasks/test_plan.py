"""From schedules to steps: epochs, class balance, and the samples of a step over passes and processes."""

import numpy as np
import pytest
from support.nuscenes_tables import SCENES, VERSION, write_dataset

from kd_perception.errors import ConfigError
from kd_training.config.sections import DataRoot, ScheduleConfig
from kd_training.data.frames import open_frames
from kd_training.tasks.plan import epoch_samples, plan_run


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    root = write_dataset(tmp_path_factory.mktemp("painted"), samples=5)
    return open_frames([DataRoot(root=str(root), version=VERSION)])


def test_an_epoch_is_every_keyframe_once_or_every_class_of_it(frames):
    assert epoch_samples(frames, balanced=False) == len(frames) == 5 * len(SCENES)
    classes = [len(np.unique(frame.boxes.label)) for frame in frames]
    assert min(classes) > 1 and epoch_samples(frames, balanced=True) == sum(classes)


def test_steps_are_taken_as_given_or_counted_from_epochs(frames):
    assert plan_run(ScheduleConfig(steps=7, batch=4), frames, False, 0, 1).steps == 7
    assert (
        plan_run(ScheduleConfig(epochs=3.0, batch=4), frames, False, 0, 1).steps == 8
    )  # 30 samples, the last step short
    assert plan_run(ScheduleConfig(epochs=3.0, batch=2, total_batch=10), frames, False, 0, 1).steps == 3


@pytest.mark.parametrize(("processes", "passes"), [(1, 4), (2, 2), (4, 1)])
def test_a_step_has_the_same_samples_whatever_the_processes(frames, processes, passes):
    plan = plan_run(ScheduleConfig(epochs=2.0, batch=2, total_batch=8), frames, False, 0, processes)
    assert (plan.passes, plan.steps) == (passes, 3)


def test_a_total_batch_that_does_not_divide_is_named(frames):
    with pytest.raises(ConfigError, match="total_batch 10 is no multiple of 4 samples in 2 process"):
        plan_run(ScheduleConfig(steps=1, batch=4, total_batch=10), frames, False, 0, 2)
