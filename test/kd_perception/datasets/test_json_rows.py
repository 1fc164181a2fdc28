"""Rows of JSON tables by token and number, decoded from their place in the file."""

import json
from pathlib import Path

import numpy as np
import pytest

from kd_perception.datasets import json_rows, row_blocks
from kd_perception.datasets.json_rows import JsonRows, RowsByToken
from kd_perception.datasets.large_tables import TokenIndex
from kd_perception.datasets.row_blocks import RowBlock, read_blocks
from kd_perception.datasets.row_types import TokenRow
from kd_perception.datasets.token_hashes import token_hash, token_hashes
from kd_perception.errors import DataError

ROWS = [
    {"token": f"t{number}", "name": 'Köln, [a], {b} \\ " 車' * (number % 3), "value": [number, float("nan")]}
    for number in range(40)
]


@pytest.fixture(params=["small", "large"])
def table(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes text as a table and opens it: in memory, or in a file that is searched piece by piece."""
    if request.param == "large":
        monkeypatch.setattr(row_blocks, "CHUNK", 300)
        monkeypatch.setattr(json_rows, "KEPT_BYTES", 0)

    def opened(text: str) -> JsonRows:
        path = tmp_path / "table.json"
        path.write_text(text, encoding="utf-8")
        return JsonRows(path, places(path))

    return opened


def places(path: Path) -> dict[str, np.ndarray]:
    blocks = list(read_blocks(path, TokenRow))
    tokens = TokenIndex(token_hashes([token for block in blocks for token in tokens_of(block)]))
    start, length = (np.concatenate([[], *(getattr(block, name) for block in blocks)]) for name in ("start", "length"))
    return {"start": start.astype(int), "length": length.astype(int), "hash": tokens.hashes, "order": tokens.order}


def tokens_of(block: RowBlock) -> list[str]:
    return [row.token if block.typed else row["token"] for row in block.rows]


STYLES = [
    {},
    {"indent": 2},
    {"indent": "\t", "separators": (" ,", " : ")},
    {"ensure_ascii": False},
    {"indent": 0, "ensure_ascii": False, "sort_keys": True},
]
PLAIN = [
    {"value": [number, -0.5e3], "token": f"{number:032x}", "name": "Köln 車" * (number % 2)} for number in range(40)
]
NESTED = [row | {"more": {"deep": {}, "list": [{}]}} for row in PLAIN]
QUOTED = [row | {"name": 'a \\ " { }, {', "token": f'"{number}\\'} for number, row in enumerate(PLAIN)]
MIXED = [*PLAIN[:20], *QUOTED[20:21], *PLAIN[21:30], *ROWS[:1], *NESTED[31:]]


@pytest.mark.parametrize("written", [ROWS, PLAIN, NESTED, QUOTED, MIXED], ids="rows plain nested quoted mixed".split())
@pytest.mark.parametrize("style", STYLES)
def test_rows_are_those_of_the_file(table, written, style):
    rows = table(" \n" + json.dumps(written, **style) + "\n \n")
    assert len(rows) == len(written) and list(map(repr, rows)) == list(map(repr, read_again(written, style)))
    assert [rows.number(row["token"]) for row in written] == list(range(len(written)))
    by_token = RowsByToken(rows)
    token = written[7]["token"]
    assert by_token[token]["token"] == token and token in by_token and "x" not in by_token and 7 not in by_token
    with pytest.raises(KeyError, match="x"):
        rows.number("x")


def read_again(rows: list[dict], style: dict) -> list[dict]:
    return json.loads(json.dumps(rows, **style))  # with the file's order of keys


def test_rows_of_the_wanted_type_are_told_from_others(tmp_path: Path):
    (tmp_path / "plain.json").write_text(json.dumps(PLAIN, indent=1))
    (tmp_path / "nested.json").write_text(json.dumps(NESTED))
    assert [block.typed for block in read_blocks(tmp_path / "plain.json", TokenRow)] == [True]
    assert [block.typed for block in read_blocks(tmp_path / "nested.json", TokenRow)] == [False]


def test_hashes_at_once_are_those_of_single_tokens():
    like_nuscenes = [f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for number in range(99)]
    others = ["", "a", "A" * 32, " " + "a" * 31, "é" * 32, "١" * 32, "0" * 31]
    for tokens in (like_nuscenes, others, [*like_nuscenes, *others], ["f" * 32, "A" * 32], []):
        assert token_hashes(tokens).tolist() == [token_hash(token) for token in tokens]
    assert len({token_hash(token) for token in [*like_nuscenes, *others]}) == len(like_nuscenes) + len(others)


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
        ('[{"token": "a"}, ]', ValueError, "the row at byte 17 is cut or no JSON"),
        ('[, {"token": "a"}]', ValueError, "the row at byte 1 is cut or no JSON"),
        ('{"rows": [{"token": "a"}]}', DataError, r"'\[' expected at byte 0"),
        ("", DataError, "is not a list of rows"),
    ],
)
def test_other_files_are_refused(table, text: str, error: type[Exception], sentence: str):
    with pytest.raises(error, match=sentence):
        table(text)


def test_what_other_tables_say_of_a_row_is_added(tmp_path: Path):
    path = tmp_path / "table.json"
    path.write_text('[{"token": "a"}, {"token": "b"}]')
    rows = JsonRows(path, places(path), lambda number, row: row | {"number": number})
    assert [row["number"] for row in rows] == [0, 1] and rows.token(1) == "b"
    assert np.array_equal(rows.candidates("b"), [1])
