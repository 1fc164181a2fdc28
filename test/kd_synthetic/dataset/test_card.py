"""The data card: what it counts, and what it shows."""

import pytest
from support.real_data import real_data

from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.geometry.classes import CLASSES
from kd_synthetic.dataset.card import REAL_MINI_VAL, ClassStatistics, Fact, class_statistics, write_card
from kd_synthetic.rerender.source import original_facts


def test_statistics_count_what_lies_in_range() -> None:
    facts = [
        Fact("car", 10.0, 0, 1, 0.0),
        Fact("car", 20.0, 10, 4, 3.0),
        Fact("car", 51.0, 99, 4, 3.0),  # beyond the 50 m of cars
        Fact("barrier", 29.0, 5, 0, 0.0),
    ]
    stats = class_statistics([facts, [], [], []])
    assert set(stats) == {"car", "barrier"}
    assert stats["car"] == ClassStatistics(0.5, (11.0, 15.0, 19.0), (1, 2, 5, 8, 9), 0.5, (0.5, 0, 0, 0.5), 0.5)
    assert stats["barrier"].visibility == ()


def test_card_shows_every_class_next_to_the_real_one(tmp_path) -> None:
    write_card(tmp_path, [[Fact("bus", 10.0, 3, 4, 5.0)]], {"seed": 5})
    rows = [line for line in (tmp_path / "card.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert [tuple(cell.strip() for cell in row.split("|")[1:3]) for row in rows] == [
        (name, source) for name in CLASSES for source in ("synthetic", "real")
    ]
    assert (
        "| bus | synthetic | 1.00 | 10 / 10 / 10 | 3 / 3 / 3 / 3 / 3 | 0% | 0.00 / 0.00 / 0.00 / 1.00 | 100% |" in rows
    )
    assert "| trailer | real | 0 |" in "\n".join(rows)


@pytest.mark.real_data
def test_real_statistics_are_those_of_mini_val() -> None:
    frames = original_facts(open_nuscenes(real_data("nuscenes-minival-gt"), "v1.0-mini"))
    assert len(frames) == 81
    assert class_statistics(frames) == REAL_MINI_VAL
