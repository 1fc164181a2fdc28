"""What kind of thing a path is: a bag, results, or a data set."""

from enum import Enum
from pathlib import Path

from kd_perception.bags.parts import STORAGE_SUFFIXES
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.result_folder import FOXGLOVE_FILE, METRICS_FOLDER, RESULTS_FILE, TRAINED_RESULTS_FILE

RESULT_FILES = (RESULTS_FILE, TRAINED_RESULTS_FILE, f"{METRICS_FOLDER}/{TRAINED_RESULTS_FILE}")
PACKED = ".zstd"


class SourceKind(Enum):
    """What can be viewed."""

    BAG = "bag"
    RESULTS = "results"
    DATASET = "data set"


def recognise(path: Path) -> SourceKind:
    """The kind of a file or folder; raises DataError if it is none of them."""
    if not path.exists():
        raise DataError(f"{path} does not exist; give a bag, a result folder or a data set")
    if path.name == FOXGLOVE_FILE:
        raise DataError(f"{path} is a recording for Foxglove, which opens it; give its folder to see it here")
    if path.is_file():
        if path.suffix == ".json":
            return SourceKind.RESULTS
        if path.name.removesuffix(PACKED).endswith(STORAGE_SUFFIXES):
            return SourceKind.BAG
    elif any((path / name).is_file() for name in RESULT_FILES):
        return SourceKind.RESULTS
    elif tables_of(path):
        return SourceKind.DATASET
    elif (path / "metadata.yaml").is_file() or any(
        file.name.removesuffix(PACKED).endswith((*STORAGE_SUFFIXES, ".bag")) for file in path.iterdir()
    ):
        return SourceKind.BAG
    raise DataError(
        f"{path} is no bag (metadata.yaml, .mcap or .db3), no result folder ({RESULTS_FILE}) and no data set (a folder "
        "of tables with sample.json); give one of them"
    )


def results_file(path: Path) -> Path:
    """The result file that a path means."""
    return path if path.is_file() else next(path / name for name in RESULT_FILES if (path / name).is_file())


def tables_of(dataroot: Path) -> list[str]:
    """Versions that a data set has tables of."""
    return sorted(file.parent.name for file in dataroot.glob("*/sample.json"))


def version_of(dataroot: Path, version: str) -> str:
    """The version that is given, else the only one that the data set has.

    Raises DataError if it has none, ConfigError if it has several.
    """
    if version:
        return version
    found = tables_of(dataroot)
    if not found:
        raise DataError(f"{dataroot} is no data set: no folder in it has tables (sample.json); give another --dataroot")
    if len(found) > 1:
        raise ConfigError(f"{dataroot} has tables of {', '.join(found)}; choose one with --version")
    return found[0]
