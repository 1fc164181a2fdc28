"""By how much a camera's mounting in tf is turned away from what its pictures say: a search, not a calibration."""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.rig_check.evidence import BETTER, FITS, Evidence
from kd_perception.rig_check.finding import Finding, Severity

YAWS, PITCHES = np.arange(-4.0, 5.0), np.arange(-3.0, 4.0)  # degrees that are tried; then half degrees around the best
WEAK = 0.5  # share of the median agreement of all cameras below which a camera is looked at


@dataclass(frozen=True)
class MountingTurn:
    """Degrees to turn a mounting: yaw to the left, pitch up; and the agreement that it would have then."""

    yaw: float
    pitch: float
    agreement: float


def check_turn(evidence: Evidence, name: str) -> list[Finding]:
    """A finding if the camera fits the cloud badly, and much better were its mounting turned by a few degrees."""
    given, others = evidence.given[name], [value for value in evidence.given.values() if np.isfinite(value)]
    if not given < WEAK * np.median(others or [0.0]):
        return []
    best = best_turn(evidence, name)
    if best.agreement < max(FITS, given + BETTER) or not (best.yaw or best.pitch):
        return []
    sideways = f"{abs(best.yaw):g} degrees to the {'left' if best.yaw > 0 else 'right'}" if best.yaw else ""
    upward = f"{abs(best.pitch):g} degrees {'up' if best.pitch > 0 else 'down'}" if best.pitch else ""
    text = (
        f"camera '{name}' fits the cloud by {given:.1f}, but by {best.agreement:.1f} if its mounting in tf were turned "
        f"by {' and '.join(filter(None, (sideways, upward)))}: calibrate its mounting again"
    )
    return [Finding(Severity.warning, text, (name,))]


def best_turn(evidence: Evidence, name: str) -> MountingTurn:
    """The turn with the best agreement, to half a degree."""
    tried: dict[tuple[float, float], float] = {}

    def score(turn: tuple[float, float]) -> float:
        if turn not in tried:
            value = evidence.score(turned(evidence.cameras[name], *turn), name)
            tried[turn] = -np.inf if np.isnan(value) else value
        return tried[turn]

    yaw, pitch = max(itertools.product(YAWS.tolist(), PITCHES.tolist()), key=score)
    around = itertools.product((yaw - 0.5, yaw, yaw + 0.5), (pitch - 0.5, pitch, pitch + 0.5))
    yaw, pitch = max(around, key=score)
    return MountingTurn(yaw, pitch, tried[yaw, pitch])


def turned(camera: Camera, yaw: float, pitch: float) -> Camera:
    """The camera turned in place: `yaw` degrees to the left about the vertical, its axis `pitch` degrees up."""
    half = np.radians(pitch) / 2.0
    mounting = camera.ego_from_camera @ make_transform([np.cos(half), np.sin(half), 0.0, 0.0], np.zeros(3))
    mounting[:3, :3] = make_transform(quaternion_from_yaw(np.radians(yaw)), np.zeros(3))[:3, :3] @ mounting[:3, :3]
    return replace(camera, ego_from_camera=mounting)
