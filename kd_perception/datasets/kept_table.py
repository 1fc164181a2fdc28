"""Why keyframes were recorded: a table of our own, in data sets made of what `hard_sample_recorder` kept."""

from pathlib import Path

import msgspec

from kd_perception.errors import DataError

KEPT_TABLE = "kept_frame"


class KeptRow(msgspec.Struct, frozen=True):
    """A row of kept_frame.json: importance, rarity, verdicts and why as the recorder has them
    (kd_perception.continual.recording.KeptFrame)."""

    token: str
    sample_token: str
    importance: float
    rarity: float
    verdicts: dict[str, int]
    why: str


def read_kept(tables: Path) -> dict[str, KeptRow]:
    """The rows of a folder of tables by sample, none without the table; raises DataError for a damaged one."""
    path = tables / f"{KEPT_TABLE}.json"
    if not path.is_file():
        return {}
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[KeptRow])
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); import the recording again, or delete the table") from error
    return {row.sample_token: row for row in rows}
