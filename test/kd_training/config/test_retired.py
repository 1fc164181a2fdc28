"""Files of the time when a key existed are read without it, and a ledger's keys are made as they were then."""

import pytest
from omegaconf import OmegaConf

from kd_perception.errors import ConfigError
from kd_training.config.experiment import TrainConfig, config_from_yaml, to_yaml
from kd_training.config.retired import check_retired, with_retired
from kd_training.config.sections import DataConfig, ModelConfig, StudentScheduleConfig

CONFIG = TrainConfig(model=ModelConfig(name="m"), data=DataConfig(roots=[]), schedule=StudentScheduleConfig(steps=1))


def stored(steps: int) -> str:
    given = OmegaConf.create(to_yaml(CONFIG))
    given.distill.adapter_steps = steps
    return OmegaConf.to_yaml(given)


@pytest.mark.parametrize("steps", [0, 40])
def test_a_stored_model_is_used_without_the_key(steps):
    assert config_from_yaml(stored(steps), "here") == CONFIG


def test_a_run_that_used_the_key_does_not_go_on():
    check_retired(OmegaConf.create(stored(0)), "state.pt")
    check_retired(OmegaConf.create("teacher: {}"), "state.pt")
    with pytest.raises(ConfigError, match="state.pt has distill.adapter_steps=40, which this version cannot do; start"):
        check_retired(OmegaConf.create(stored(40)), "state.pt")


def test_keys_stand_where_they_stood():
    keys = {"distill": {"teacher": "", "inherit_head": True, "cache_bytes": 0}, "teacher": {}}
    found = with_retired(keys)
    assert list(found["distill"].items()) == [
        ("teacher", ""), ("inherit_head", True), ("adapter_steps", 0), ("cache_bytes", 0),
    ]  # fmt: skip
    assert found["teacher"] == {} and "adapter_steps" not in keys["distill"]
