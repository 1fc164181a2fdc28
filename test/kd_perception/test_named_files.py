"""NAME=FILE on a command line."""

import pytest

from kd_perception.errors import ConfigError
from kd_perception.named_files import named_files


def test_files_keep_their_names_and_order(tmp_path) -> None:
    for name in ("a", "b=c"):
        (tmp_path / name).touch()
    found = named_files([f"second={tmp_path / 'b=c'}", f"first={tmp_path / 'a'}"], "--file")
    assert list(found.items()) == [("second", tmp_path / "b=c"), ("first", tmp_path / "a")]


def test_what_is_wrong_is_named(tmp_path) -> None:
    (tmp_path / "a").touch()
    for given, said in (
        (["alone"], "--file 'alone' is not NAME=FILE"),
        ([f"={tmp_path / 'a'}"], "is not NAME=FILE"),
        ([f"x={tmp_path / 'a'}"] * 2, "--file names 'x' twice"),
        ([f"x={tmp_path / 'none'}"], "--file x: .*none does not exist"),
    ):
        with pytest.raises(ConfigError, match=said):
            named_files(given, "--file")
