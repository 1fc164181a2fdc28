"""The options of `kd bench distill`."""

from pathlib import Path

import pytest

from kd_bench.distill.arms import PLAN
from kd_bench.distill.cli import chosen_slices, weights_by_name
from kd_bench.ledger.starts import start_weights
from kd_perception.errors import ConfigError
from kd_perception.resources import resource


def test_suites_arms_and_seeds_are_chosen():
    """All of a suite, some arms, some seeds; and everything in the order of what it decides."""
    assert chosen_slices("all", None, 0) == list(PLAN)
    (one,) = chosen_slices("main", ["heads", "none"], 2)
    assert (one.arms, one.seeds) == (("none", "heads"), 2)
    pieces = [(arm.name, seed) for entry in chosen_slices("terms", None, 1) for _, arm, seed in entry.pieces()]
    assert pieces[0] == ("answers", 100) and len(pieces) == len(chosen_slices("terms", None, 0)[0].arms)


def test_options_that_fit_nothing_are_named(tmp_path):
    with pytest.raises(ConfigError, match="suite 'mian' is unknown; choose one of main, published"):
        chosen_slices("mian", None, 0)
    with pytest.raises(ConfigError, match="--arm 'mvp' is not in suite main; choose from: none, answers"):
        chosen_slices("main", ["mvp"], 0)
    with pytest.raises(ConfigError, match="--start .*absent does not exist"):
        start_weights(Path(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="bevdet_demo.safetensors has learnt from labels"):
        start_weights(resource("models/bevdet_demo.safetensors"))
    with pytest.raises(ConfigError, match="--teacher 'mvp' is not NAME=FILE"):
        weights_by_name(["mvp"], ("mvp",), "--teacher")
    with pytest.raises(ConfigError, match="--teacher mvp: .*absent does not exist"):
        weights_by_name([f"mvp={tmp_path / 'absent'}"], ("mvp",), "--teacher")
