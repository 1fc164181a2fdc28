"""From lines of the ledger to matrices, figures, gates and the report."""

import numpy as np
import pytest
from support.continual_ledger import learnt

from kd_bench.continual.arms import FIRST, JOINT, NO_HUMAN, OURS
from kd_bench.continual.comparison import AVERAGE, FORGETTING, main_results
from kd_bench.continual.domains import CITIES, DAY_NIGHT, FIVE_FIVE
from kd_bench.continual.gates import few_boxes, gates
from kd_bench.continual.report import write_continual_report
from kd_bench.ledger.clock import WALL
from kd_perception.errors import DataError

OURS_ROWS = ([0.30, 0.10, 0.05, 0.20], [0.30, 0.25, 0.06, 0.18], [0.29, 0.25, 0.20, 0.20], [0.294, 0.245, 0.196, 0.28])


def ours_on_cities(seed: int = 0) -> list:
    arms = (FIRST, OURS.name, OURS.name, OURS.name)
    return [
        learnt(CITIES, arm, step, row, seed, buffer=0 if step == 0 else 88)
        for step, (arm, row) in enumerate(zip(arms, OURS_ROWS, strict=True))
    ]


def nights(seed: int = 0) -> list:
    return [
        learnt(DAY_NIGHT, FIRST, 0, [0.30, 0.05], seed),
        learnt(DAY_NIGHT, OURS.name, 1, [0.30, 0.19], seed),
        learnt(DAY_NIGHT, NO_HUMAN.name, 1, [0.297, 0.13], seed),
    ]


def verdicts(records: list) -> list[bool | None]:
    return [gate.reached for gate in gates(records)]


def test_a_matrix_has_a_row_for_each_domain_that_was_learnt():
    found = main_results(ours_on_cities())[CITIES.name]
    assert found.matrix(OURS.name, 0) == pytest.approx(np.array(OURS_ROWS)) and found.arms == [OURS.name]
    assert found.figure(OURS.name, AVERAGE).mean == pytest.approx(np.mean(OURS_ROWS[-1]))
    assert found.figure(OURS.name, FORGETTING).mean == pytest.approx(0.02)
    assert not main_results(ours_on_cities()[:3])  # rain is yet to be learnt


def test_classes_are_scored_on_their_own_and_unknown_ones_count_nothing():
    old, new = (domain.classes for domain in FIVE_FIVE.domains)
    first, last = learnt(FIVE_FIVE, FIRST, 0, [0.4, 0.4]), learnt(FIVE_FIVE, OURS.name, 1, [0.3, 0.3])
    for name in new:
        del first.scores["city_a_long_day_val"]["AP"][name]
    last.scores["city_a_long_day_val"]["AP"].update(dict.fromkeys(old, 0.38))
    matrix = main_results([first, last])[FIVE_FIVE.name].matrix(OURS.name, 0)
    assert matrix == pytest.approx(np.array([[0.4, 0.0], [0.38, 0.3]]))


def test_joint_training_has_its_last_row_and_the_others_are_measured_by_it():
    joint = learnt(CITIES, JOINT.name, 3, [0.3, 0.25, 0.2, 0.25], seconds=1000.0)
    found = main_results([*ours_on_cities(), joint])[CITIES.name]
    assert np.isnan(found.matrix(JOINT.name, 0)[:3]).all() and found.figure(JOINT.name, FORGETTING) is None
    assert found.accuracy_share(OURS.name).mean == pytest.approx(np.mean(OURS_ROWS[-1]) / 0.25)
    assert found.time_share(OURS.name).mean == pytest.approx(0.1)
    assert found.all_seconds(OURS.name) == {0: 300.0}


def test_time_that_other_programs_had_a_part_in_is_not_compared():
    joint = learnt(CITIES, JOINT.name, 3, [0.3, 0.25, 0.2, 0.25], seconds=1000.0, clock=WALL)
    found = main_results([*ours_on_cities(), joint])[CITIES.name]
    assert found.time_share(OURS.name) is None and found.last_seconds(JOINT.name) == {}
    assert found.accuracy_share(OURS.name) is not None
    aims = gates([*ours_on_cities(), joint])
    assert next(aim for aim in aims if "training's time" in aim.wish).verdict == "open"


def test_gates_open_without_runs_and_are_reached_or_not_with_them():
    assert verdicts([]) == [None] * 6
    joint = learnt(CITIES, JOINT.name, 3, [0.3, 0.25, 0.2, 0.25], seconds=1000.0)
    assert verdicts([*ours_on_cities(), joint, *nights()]) == [True, None, True, True, True, True]
    quick = learnt(CITIES, JOINT.name, 3, [0.4, 0.35, 0.3, 0.35], seconds=300.0)
    poor = [*nights()[:2], learnt(DAY_NIGHT, NO_HUMAN.name, 1, [0.28, 0.11])]
    assert verdicts([*ours_on_cities(), quick, *poor]) == [True, None, False, False, False, False]


def test_seeds_have_intervals_and_protocols_are_not_mixed():
    other = [learnt(CITIES, JOINT.name, 3, [0.9] * 4, protocol="q")]
    found = main_results([*ours_on_cities(0), *ours_on_cities(1), *other])[CITIES.name]
    assert found.figure(OURS.name, AVERAGE).count == 2 and found.seeds(JOINT.name) == []


def test_the_report_has_tables_and_a_picture_and_names_what_is_missing(tmp_path):
    records = [*ours_on_cities(), learnt(CITIES, JOINT.name, 3, [0.3, 0.25, 0.2, 0.25]), *nights()]
    records[0].scores["night_val"]["truths"]["bus"] = 41
    files = write_continual_report(records, tmp_path / "continual.md")
    text = files[0].read_text()
    assert files[1].stat().st_size > 1000 and "(continual.png)" in text
    assert "`kd bench continual --data away`" in text and "FEWER of night: bus 41" in text
    assert "| night | 29.0 | 25.0 | 20.0 | 20.0 |" in text and "| all | 30.0 | 25.0 | 20.0 | 25.0 |" in text
    assert "No run yet." in text and "ours 1 of 3" in text
    assert few_boxes(records) == ["night: bus 41"]
    with pytest.raises(DataError, match="run kd bench continual first"):
        write_continual_report([], tmp_path / "none.md")
