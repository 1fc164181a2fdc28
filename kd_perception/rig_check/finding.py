"""One thing that is wrong with a recording, as a sentence."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """error: the detector would be blind or wrong; warning: worth a look; note: worth knowing."""

    error = "error"
    warning = "warning"
    note = "note"


@dataclass(frozen=True)
class Finding:
    """What is wrong, where, and how to fix it; `cameras` are the names it is about (none: the whole rig)."""

    severity: Severity
    sentence: str
    cameras: tuple[str, ...] = ()
