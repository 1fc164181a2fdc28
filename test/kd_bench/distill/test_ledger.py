"""The ledger of `kd bench distill`, paired statistics with known numbers, and the options."""

from pathlib import Path

import pytest
from support.ledger import record

from kd_bench.distill.arms import PLAN
from kd_bench.distill.cli import chosen_slices, start_weights, weights_by_name
from kd_bench.distill.ledger import distill_ledger
from kd_bench.ledger.intervals import estimate, paired
from kd_perception.errors import ConfigError, DataError
from kd_perception.resources import resource


def test_what_is_written_is_read_and_the_same_key_is_kept_once(tmp_path):
    path = tmp_path / "new" / "ledger.jsonl"
    distill_ledger(path).append([record(seed=0), record(seed=1)])
    distill_ledger(path).append([record(seed=1, mean_ap=0.9), record(seed=2)])
    assert distill_ledger(path).read().records == (record(seed=0), record(seed=1), record(seed=2))
    assert distill_ledger(path).read().torn == "" and len(path.read_text().splitlines()) == 3
    assert distill_ledger(tmp_path / "none.jsonl").read().records == ()


def test_a_torn_last_line_is_handed_back_and_repaired_by_the_next_record(tmp_path):
    path = tmp_path / "ledger.jsonl"
    distill_ledger(path).append([record(seed=0), record(seed=1)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    torn = distill_ledger(path).read()
    assert torn.records == (record(seed=0),) and torn.torn and whole.decode().splitlines()[1].startswith(torn.torn)
    distill_ledger(path).append([record(seed=1)])
    assert path.read_bytes() == whole


@pytest.mark.parametrize(("line", "message"), [("[1]", "not a JSON object"), ('{"suite": "main"}', "it lacks student")])
def test_a_line_that_is_no_record_is_named(tmp_path, line, message):
    path = tmp_path / "ledger.jsonl"
    distill_ledger(path).append([record()])
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(DataError, match=f"ledger.jsonl, line 1 is no record .*{message}"):
        distill_ledger(path).read()


def test_intervals_are_students():
    """Mean 3, deviation sqrt(2.5), 5 seeds: 2.7764 * sqrt(2.5 / 5)."""
    found = estimate(dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0])))
    assert found.mean == pytest.approx(3.0) and found.half_width == pytest.approx(1.9632, abs=1e-4)
    assert found.low == pytest.approx(1.0368, abs=1e-4)
    assert found.clear and not estimate({0: 5.0}).clear


def test_pairing_takes_the_seeds_noise_out():
    """Gains of 1, 2 and 3 over baselines that lie far apart; a seed that only one side has does not count."""
    baseline = {0: 10.0, 1: 50.0, 2: 30.0, 7: 99.0}
    found = paired({0: 11.0, 1: 52.0, 2: 33.0, 5: 0.0}, baseline)
    assert (found.mean, found.count) == (pytest.approx(2.0), 3)
    assert found.half_width == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert paired({9: 1.0}, baseline) is None


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
