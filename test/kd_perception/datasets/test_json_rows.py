"""Rows of JSON tables by token and number, decoded from their place in the file."""

import json
from pathlib import Path

import numpy as np
import pytest

from kd_perception.datasets import json_rows
from kd_perception.datasets.json_rows import JsonRows, RowsByToken, find_rows
from kd_perception.errors import DataError

ROWS = [
    {"token": f"t{number}", "name": 'Köln, [a], {b} \\ " 車' * (number % 3), "value": [number, float("nan")]}
    for number in range(40)
]


@pytest.fixture(params=["small", "large"])
def table(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes text as a table and opens it: in memory, or in a file that is searched piece by piece."""
    if request.param == "large":
        monkeypatch.setattr(json_rows, "CHUNK", 300)
        monkeypatch.setattr(json_rows, "KEPT_BYTES", 0)

    def opened(text: str) -> JsonRows:
        path = tmp_path / "table.json"
        path.write_text(text, encoding="utf-8")
        return JsonRows(path, find_rows(path))

    return opened


@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"ensure_ascii": False}, {"indent": 0, "ensure_ascii": False}])
def test_rows_are_those_of_the_file(table, style):
    rows = table(json.dumps(ROWS, **style) + "\n")
    assert len(rows) == len(ROWS) and repr(list(rows)) == repr(ROWS) and repr(rows[-1]) == repr(ROWS[-1])
    assert [rows.number(row["token"]) for row in ROWS] == list(range(len(ROWS)))
    by_token = RowsByToken(rows)
    assert by_token["t7"]["token"] == "t7" and "t7" in by_token and "x" not in by_token and 7 not in by_token
    with pytest.raises(KeyError, match="x"):
        rows.number("x")


def test_tables_may_be_empty_and_the_last_of_equal_tokens_counts(table):
    assert len(table(" [ ] ")) == 0
    assert table('[{"token": "a", "v": 1}, {"token": "a", "v": 2}]').number("a") == 1


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ('{"token": "a"}', DataError, "is not a list of rows"),
        ('[{"token": "a"}, 3]', DataError, "is not a list of rows"),
        ('[{"token": "a"} {"token": "b"}]', DataError, "',' expected at byte 16"),
        ('[{"token": "a"}, {"token": ', ValueError, "the row at byte 17 is cut or no JSON"),
        ('[{"token": "a"}', DataError, "is not a list of rows"),
        ("", DataError, "is not a list of rows"),
    ],
)
def test_other_files_are_refused(table, text: str, error: type[Exception], sentence: str):
    with pytest.raises(error, match=sentence):
        table(text)


def test_what_other_tables_say_of_a_row_is_added(tmp_path: Path):
    path = tmp_path / "table.json"
    path.write_text('[{"token": "a"}, {"token": "b"}]')
    rows = JsonRows(path, find_rows(path), lambda number, row: row | {"number": number})
    assert [row["number"] for row in rows] == [0, 1] and rows.token(1) == "b"
    assert np.array_equal(rows.candidates("b"), [1])
