"""A small rendered data set, shared by the tests of this folder."""

import pytest
from support.synthetic import small_config

from kd_synthetic.dataset.generate import SynthConfig, generate


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SynthConfig:
    """The rendered set; do not change its files."""
    config = small_config(tmp_path_factory.mktemp("synth") / "data")
    generate(config)
    return config
