"""One thing that is wrong with a recording, as a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kd_perception.rig_check.mistake import Mistake


class Severity(StrEnum):
    """error: the detector would be blind or wrong; warning: worth a look; note: worth knowing."""

    error = "error"
    warning = "warning"
    note = "note"


@dataclass(frozen=True)
class Finding:
    """What is wrong, where, and how to fix it; `cameras` are the names it is about (none: the whole rig).

    doubt: the sentence says only why nothing can be said; mistake: what pictures and cloud say was done wrong.
    """

    severity: Severity
    sentence: str
    cameras: tuple[str, ...] = ()
    doubt: bool = False
    mistake: Mistake | None = None


def merged(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, errors first, with those that differ only in the camera's name as one."""
    groups: dict[tuple[Severity, str, bool], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, _without_name(finding), finding.doubt), []).append(finding)
    order = list(Severity)
    whole = [group[0] if len(group) == 1 else _merge(group) for group in groups.values()]
    return sorted(whole, key=lambda finding: order.index(finding.severity))


def named(cameras: Sequence[str]) -> str:
    """ "camera 'a'", "cameras 'a' and 'b'" or "cameras 'a', 'b' and 'c'"."""
    quoted = [f"'{name}'" for name in cameras]
    if len(quoted) == 1:
        return f"camera {quoted[0]}"
    return f"cameras {', '.join(quoted[:-1])} and {quoted[-1]}"


def _without_name(finding: Finding) -> str:
    """The sentence with `*` for the one camera that begins it, also in topics, else as it is."""
    if len(finding.cameras) != 1 or not finding.sentence.startswith(f"{named(finding.cameras)}: "):
        return finding.sentence
    (name,) = finding.cameras
    return finding.sentence.replace(f"'{name}'", "'*'").replace(f"/{name}/", "/*/")


def _merge(group: Sequence[Finding]) -> Finding:
    cameras = tuple(dict.fromkeys(name for finding in group for name in finding.cameras))
    if len(cameras) < 2:
        return group[0]
    text = _without_name(group[0]).removeprefix("camera '*': ")
    return replace(group[0], sentence=f"{named(cameras)}, each: {text}", cameras=cameras)
