"""Whether headings and stated velocities agree with where objects go, and what that says of length and width.

Only objects that move at several times what labels jitter count; medians and large majorities decide, so that single
wrong labels, turning and reversing objects accuse nobody.
"""

import numpy as np

from kd_perception.data_check.labels import LabelArrays
from kd_perception.rig_check.finding import Finding, Severity

MOVING = 2.0  # m/s by displacement: jitter of labels, some 0.3 m in half a second, turns such a motion little
FEWEST = 6  # boxes of a category
FEWEST_TRACKS = 2  # that they belong to
NEAR = np.radians(30.0)  # of a direction
MAJORITY = 0.75
WIDE = 0.75  # length by width: below, the box lies across; people, who may be wider than deep, are not judged
LONG_SIDE = 1.2  # metres
FACTOR = 1.3  # between stated and seen speed
FASTEST = 70.0  # m/s


def check_headings(labels: LabelArrays) -> list[Finding]:
    """Categories whose boxes move sideways or backwards by their yaw, or along their shorter side."""
    findings = []
    for category in labels.categories:
        moving = labels[(labels.category == category) & (labels.speed > MOVING) & (labels.speed < FASTEST)]
        if len(moving) < FEWEST or len(set(moving.track)) < FEWEST_TRACKS:
            continue
        sideways = (np.abs(np.abs(moving.turn) - np.pi / 2) < NEAR).mean()
        backwards = (np.abs(moving.turn) > np.pi - NEAR).mean()
        ahead = (np.abs(moving.turn) < NEAR).mean()
        long_side = np.median(moving.size[:, :2].max(axis=1))
        wide = long_side > LONG_SIDE and np.median(moving.size[:, 0] / moving.size[:, 1]) < WIDE
        where = f"'{category}', {len(moving)} moving boxes"
        if sideways > MAJORITY:
            degrees = np.degrees(np.median(moving.turn))
            findings.append(
                Finding(
                    Severity.error,
                    f"{where}: {sideways:.0%} move across their heading: yaw is turned by about {degrees:+.0f} degrees"
                    + (", and length and width are swapped" if wide else "")
                    + "; turn the labels where they are converted",
                )
            )
        elif backwards > MAJORITY:
            findings.append(
                Finding(
                    Severity.error,
                    f"{where}: {backwards:.0%} move backwards: yaw is turned by 180 degrees; turn the labels",
                )
            )
        elif ahead > MAJORITY and wide:
            findings.append(Finding(Severity.error, _swapped(where, moving)))
    return findings


def check_velocities(labels: LabelArrays) -> list[Finding]:
    """Stated velocities that are not what the tracks' displacement says, and speeds that nothing on wheels has."""
    findings = []
    speed, stated = labels.speed, np.linalg.norm(labels.stated, axis=1)
    known = (speed > MOVING) & np.isfinite(stated)
    if known.sum() >= FEWEST:
        ratio = float(np.median(stated[known] / speed[known]))
        if not 1.0 / FACTOR < ratio < FACTOR:
            findings.append(
                Finding(
                    Severity.error,
                    f"stated velocities (velocity_global) are {ratio:.2g} times what {known.sum()} boxes travel: "
                    "state metres per second over ground",
                )
            )
    fast = speed > FASTEST
    if fast.sum() >= FEWEST:
        findings.append(
            Finding(
                Severity.error,
                f"{fast.sum()} boxes move at more than {FASTEST:.0f} m/s, the fastest at {np.nanmax(speed):.0f} m/s: "
                "time stamps must be in microseconds, boxes in the global frame, and tracks must not mix objects",
            )
        )
    return findings


def motion_known(labels: LabelArrays, category: str) -> bool:
    """Whether enough boxes of a category move to judge their headings."""
    moving = (labels.category == category) & (labels.speed > MOVING) & (labels.speed < FASTEST)
    return int(moving.sum()) >= FEWEST and len(set(labels.track[moving])) >= FEWEST_TRACKS


def _swapped(where: str, moving: LabelArrays) -> str:
    length, width = np.median(moving.size[:, 0]), np.median(moving.size[:, 1])
    return (
        f"{where}: they move along their shorter side, length {length:.1f} m, width {width:.1f} m: length and width "
        "are swapped; nuScenes' size is width, length, height"
    )
