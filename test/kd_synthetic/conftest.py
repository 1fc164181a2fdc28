"""A small rendered data set, shared by the tests of this folder."""

import pytest
from support.synthetic import small_set

from kd_synthetic.dataset.generate import SynthConfig


@pytest.fixture(scope="session")
def dataset(request: pytest.FixtureRequest) -> SynthConfig:
    """The rendered set; do not change its files."""
    return small_set(request)
