"""What would only fail at a run's end, or at its first save, is told before it starts."""

import json
import os
import tempfile
from pathlib import Path

from kd_perception.datasets.nuscenes import tables_folder
from kd_perception.errors import ConfigError, DataError
from kd_training.config.experiment import AnyConfig
from kd_training.config.sections import DataRoot

PROBE_BYTES = 2**20  # what a folder must take at least


def check_start(config: AnyConfig, out: Path) -> None:
    """Raise DataError or ConfigError naming a validation set or scene that is not there, or an `out` that is no folder.

    Raises OSError, as a save would, where the disk refuses files. Leaves nothing behind.
    """
    for source in config.data.validation:
        _check_source(source)
    check_writable(Path(out))


def _check_source(source: DataRoot) -> None:
    if not source.root:
        raise ConfigError("a set of data.validation has no folder; give data.root=FOLDER, or a root for every entry")
    table = tables_folder(Path(source.root), source.version) / "scene.json"
    try:
        there = {row["name"] for row in json.loads(table.read_text())}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{table} of data.validation cannot be read ({error}); restore the table") from error
    absent = [scene for scene in source.scenes if scene not in there]
    if absent:
        raise DataError(
            f"scene '{absent[0]}' of data.validation is not in {source.root}; it has: {', '.join(sorted(there)[:10])}"
        )


def check_writable(out: Path) -> None:
    """Raise ConfigError for a file in a folder's place, OSError where the disk takes no file in it."""
    folder = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file, so {out} can be no folder for the run; give another --out")
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
