"""By how much a camera's mounting in tf is turned away from what its pictures say: a search, not a calibration."""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.rig_check.agreement import EDGE_WIDTH
from kd_perception.rig_check.evidence import Evidence
from kd_perception.rig_check.explanations import Explanation
from kd_perception.rig_check.mistake import Mistake

WIDEST = 8.0  # degrees of yaw, both ways
PITCHES = tuple(np.arange(-3.0, 4.0).tolist())  # degrees that are tried first


@dataclass(frozen=True)
class MountingTurn:
    """Degrees to turn a mounting: yaw to the left, pitch up; and the agreement that it would have then."""

    yaw: float
    pitch: float
    agreement: float


def turn_explanation(evidence: Evidence, name: str) -> Explanation:
    """The turn by a few degrees with which a camera fits the cloud best."""
    best = best_turn(evidence, name)
    sideways = f"{abs(best.yaw):g} degrees to the {'left' if best.yaw > 0 else 'right'}" if best.yaw else ""
    upward = f"{abs(best.pitch):g} degrees {'up' if best.pitch > 0 else 'down'}" if best.pitch else ""
    turn = " and ".join(filter(None, (sideways, upward))) or "nothing"
    text = f"it would fit the cloud better if its mounting in tf were turned by {turn}: calibrate its mounting again"
    return Explanation(Mistake.mounting_turned, text, {name: best.agreement})


def best_turn(evidence: Evidence, name: str) -> MountingTurn:
    """The turn with the best agreement, to half a degree; a picture pushed sideways tells the yaw to begin with."""
    camera, tried = evidence.cameras[name], {}

    def score(turn: tuple[float, float]) -> float:
        if turn not in tried:
            value = evidence.score(turned(camera, *turn), name)
            tried[turn] = -np.inf if np.isnan(value) else value
        return tried[turn]

    starts = [(_pushed_yaw(evidence, name, pitch), pitch) for pitch in PITCHES]
    yaw, pitch = max(starts, key=score)
    for step in (1.0, 0.5):
        around = itertools.product((yaw - step, yaw, yaw + step), (pitch - step, pitch, pitch + step))
        yaw, pitch = max(around, key=score)
    return MountingTurn(yaw, pitch, tried[yaw, pitch])


def _pushed_yaw(evidence: Evidence, name: str, pitch: float) -> float:
    """Degrees to the left, to half a degree, by which the picture must be pushed to the right to fit best."""
    camera = evidence.cameras[name]
    agreements = evidence.agreements(turned(camera, 0.0, pitch), name)
    if not agreements.size:
        return 0.0
    degrees = np.degrees(camera.width / EDGE_WIDTH / camera.intrinsics[0, 0])  # of a pixel in the middle
    most = min(int(WIDEST / degrees), EDGE_WIDTH // 2 - 1)
    pushes = np.arange(-most, most + 1)
    return round(2.0 * degrees * pushes[agreements[pushes].argmax()]) / 2.0


def turned(camera: Camera, yaw: float, pitch: float) -> Camera:
    """The camera turned in place: `yaw` degrees to the left about the vertical, its axis `pitch` degrees up."""
    half = np.radians(pitch) / 2.0
    mounting = camera.ego_from_camera @ make_transform([np.cos(half), np.sin(half), 0.0, 0.0], np.zeros(3))
    mounting[:3, :3] = make_transform(quaternion_from_yaw(np.radians(yaw)), np.zeros(3))[:3, :3] @ mounting[:3, :3]
    return replace(camera, ego_from_camera=mounting)
