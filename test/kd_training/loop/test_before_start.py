"""Faults that a run would meet at its end or at its first save are told before it starts, and leave nothing."""

import re

import pytest
from support.nuscenes_tables import SCENES, write_dataset
from support.small_disk import small_disk
from support.tiny_runs import student_run
from typer.testing import CliRunner

from kd_perception.atomic import disk_refusal
from kd_perception.cli import app
from kd_perception.errors import ConfigError, DataError
from kd_training.config.experiment import load_config, to_yaml
from kd_training.loop.before_start import check_start


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"), samples=1, sweeps=False)


def test_a_good_start_leaves_nothing(data, tmp_path):
    check_start(student_run(data), tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": "/nowhere"}, "data root /nowhere does not exist"),
        ({"version": "v9"}, "has no version 'v9'"),
        ({"scenes": ["scene-9"]}, f"scene 'scene-9' of data.validation is not in .*{SCENES[1]}"),
        ({"root": ""}, "data.validation has no folder"),
    ],
)
def test_validation_sets_that_are_not_there(data, tmp_path, change, message):
    config = student_run(data)
    config.data.roots = list(config.data.roots)
    source = config.data.validation[0]
    config.data.validation = [type(source)(**{**vars(source), **change})]
    with pytest.raises((DataError, ConfigError), match=message):
        check_start(config, tmp_path / "out")


def test_out_that_takes_no_files(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is a file, so .*file/out can be no folder for the run"):
        check_start(student_run(data), tmp_path / "file" / "out")
    with small_disk(tmp_path / "disk", 256) as disk:
        with pytest.raises(OSError) as caught:
            check_start(student_run(data), disk / "out")
        assert disk_refusal(caught.value).startswith(f"{disk} cannot be written")
        assert not list(disk.iterdir())


def test_the_command_says_it_before_a_missing_teacher_is_trained(data, tmp_path):
    config = student_run(data)
    config.data.validation[0].root = "/nowhere"
    config.distill.teacher, config.distill.teacher_recipe = str(tmp_path / "teacher.safetensors"), "no recipe"
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    result = CliRunner().invoke(app, ["train", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, DataError) and "/nowhere does not exist" in str(result.exception)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range(data, tmp_path, seed):
    (tmp_path / "config.yaml").write_text(to_yaml(student_run(data, seed=seed)))
    with pytest.raises(ConfigError, match=re.escape(f"schedule.seed is {seed}; give a whole number from 0")):
        load_config(tmp_path / "config.yaml")
