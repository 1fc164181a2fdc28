"""A ledger's file: each key once, torn ends, lines that are no records."""

import pytest
from support.ledger import record

from kd_bench.distill.ledger import distill_ledger
from kd_perception.errors import DataError


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
