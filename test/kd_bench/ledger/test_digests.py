"""What a ledger's keys are made of stays as it was when younger keys of the configuration say nothing new."""

import hashlib
from dataclasses import replace

from kd_bench.ledger.digests import hashed_yaml
from kd_training.config.continual import ContinualConfig
from kd_training.config.experiment import TeacherTrainConfig, TrainConfig
from kd_training.config.sections import DataConfig, ModelConfig
from kd_training.config.teacher import LidarDataConfig, TeacherModelConfig

# As the code of the ledger's first runs made them. Where one differs, a new key is missing among YOUNGER_KEYS.
STUDENT, TEACHER = "04b7a1d81b42cfd0", "6dff97c1df00a5e3"
UPDATE = "43e2c8764b65c69f"  # of the ledger that begins with the shipped student


def digest(config) -> str:
    return hashlib.sha256(hashed_yaml(config).encode()).hexdigest()[:16]


def test_configurations_that_say_nothing_new_have_the_keys_of_the_first_runs():
    assert digest(TrainConfig(model=ModelConfig(name="m"), data=DataConfig(roots=[]))) == STUDENT
    teacher = TeacherTrainConfig(teacher=TeacherModelConfig(name="m"), data=LidarDataConfig(roots=[]))
    assert digest(teacher) == TEACHER


def test_an_update_that_says_nothing_new_has_the_key_of_the_ledgers_first_updates():
    update = ContinualConfig(student="s", domain="night")
    config = TrainConfig(model=ModelConfig(name="m"), data=DataConfig(roots=[]), continual=update)
    assert digest(config) == UPDATE
    assert digest(replace(config, continual=replace(update, blend_share=0.5))) != UPDATE
