"""What a path is taken for, and what is refused in a sentence."""

from pathlib import Path

import pytest

from kd_perception.errors import ConfigError, DataError
from kd_perception.viewer.source import SourceKind, recognise, results_file, version_of


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        ("metadata.yaml", SourceKind.BAG),
        ("part_0.mcap", SourceKind.BAG),
        ("part_0.db3.zstd", SourceKind.BAG),
        ("results_nusc.json", SourceKind.RESULTS),
        ("metrics/results.json", SourceKind.RESULTS),  # a training run
        ("v1.0-mini/sample.json", SourceKind.DATASET),
    ],
)
def test_folders_are_recognised_by_what_they_hold(tmp_path: Path, inside: str, kind: SourceKind) -> None:
    touch(tmp_path / "it" / inside)
    assert recognise(tmp_path / "it") is kind
    if kind is SourceKind.RESULTS:
        assert results_file(tmp_path / "it") == tmp_path / "it" / inside


def test_an_evaluation_with_a_recording_for_foxglove_is_results(tmp_path: Path) -> None:
    touch(tmp_path / "foxglove.mcap")
    touch(tmp_path / "results_nusc.json")
    assert recognise(tmp_path) is SourceKind.RESULTS
    with pytest.raises(DataError, match="foxglove.mcap is a recording for Foxglove, which opens it"):
        recognise(tmp_path / "foxglove.mcap")


def test_files_are_recognised_by_their_names(tmp_path: Path) -> None:
    assert recognise(touch(tmp_path / "a.mcap")) is SourceKind.BAG
    assert recognise(touch(tmp_path / "a.db3.zstd")) is SourceKind.BAG
    file = touch(tmp_path / "mine.json")
    assert recognise(file) is SourceKind.RESULTS and results_file(file) == file


def test_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent does not exist; give a bag, a result folder or a data set"):
        recognise(tmp_path / "absent")
    for path in (tmp_path, touch(tmp_path / "a.txt")):
        with pytest.raises(DataError, match="is no bag .*, no result folder .* and no data set"):
            recognise(path)


def test_the_version_of_a_data_set_is_found_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no data set: no folder in it has tables"):
        version_of(tmp_path, "")
    touch(tmp_path / "v1.0-mini" / "sample.json")
    assert version_of(tmp_path, "") == "v1.0-mini"
    touch(tmp_path / "v1.0-other" / "sample.json")
    with pytest.raises(ConfigError, match="has tables of v1.0-mini, v1.0-other; choose one with --version"):
        version_of(tmp_path, "")
    assert version_of(tmp_path, "v1.0-other") == "v1.0-other"
