"""Mistakes that could explain why pictures do not fit the cloud: the rig as if each of them had been made, and scored.

All of them are measured by the same score, so that they can be compared; `verdicts` decides.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import invert, make_transform, quaternion_from_yaw
from kd_perception.rig_check.evidence import Change, Evidence
from kd_perception.rig_check.mistake import Mistake

_MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
_BODY_FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
_PLACES = frozenset({Mistake.swapped, Mistake.exchanged_sides, Mistake.elsewhere})  # of a small rig the same
FOCAL_FACTORS = (0.8, 0.9, 1.0 / 0.9, 1.25)
CLOUD_YAWS = (-4.0, -2.5, 2.5, 4.0)  # degrees; quarter turns besides


@dataclass(frozen=True)
class Explanation:
    """A mistake, the sentence that names it, and the scores that the cameras it is about would have without it.

    places: camera -> the one whose place it really has, where that is the mistake.
    """

    mistake: Mistake
    sentence: str
    scores: Mapping[str, float]
    whole_rig: bool = False
    places: Mapping[str, str] = field(default_factory=dict)

    def rivals(self, other: "Explanation") -> bool:
        """Whether both cannot be true of a camera that they share, and differ in what must be done."""
        if not set(self.scores) & set(other.scores):
            return False
        places = {self.mistake, other.mistake} <= _PLACES
        if places and Mistake.exchanged_sides not in (self.mistake, other.mistake):
            return any(self.places[name] != other.places[name] for name in set(self.places) & set(other.places))
        if self.mistake is other.mistake and self.mistake in (Mistake.cloud_turned, Mistake.mirrored):
            return self.sentence != other.sentence
        return not places and self.mistake is not other.mistake


@dataclass(frozen=True)
class _CameraMistake:
    """What one camera's calibration, or its pictures' edges, would really be."""

    mistake: Mistake
    sentence: str
    camera: Callable[[Camera], Camera] = field(default=lambda camera: camera)
    changed: Callable[[np.ndarray], np.ndarray] | None = None


def _mounted(move: Callable[[np.ndarray], np.ndarray]) -> Callable[[Camera], Camera]:
    return lambda camera: replace(camera, ego_from_camera=move(camera.ego_from_camera))


def _zoomed(factor: float) -> Callable[[Camera], Camera]:
    return lambda camera: replace(
        camera, intrinsics=camera.intrinsics * np.array([[factor, 1, 1], [1, factor, 1], [1, 1, 1]])
    )


GROSS_MISTAKES = (
    _CameraMistake(
        Mistake.body_frame,
        "the frame is a body frame (x forward); set CameraInfo's frame_id to the optical frame (z forward, x right, y "
        "down, REP-103)",
        _mounted(lambda mounting: mounting @ _BODY_FROM_OPTICAL),
    ),
    _CameraMistake(
        Mistake.turned_twice,
        "the mounting was turned into an optical frame twice; publish base_link -> optical frame once",
        _mounted(lambda mounting: mounting @ invert(_BODY_FROM_OPTICAL)),
    ),
    _CameraMistake(
        Mistake.inverted,
        "the transform is inverted; publish the pose of the camera in base_link, not the reverse",
        _mounted(invert),
    ),
    _CameraMistake(
        Mistake.upside_down,
        "the mounting in tf is rolled by 180 degrees, or the picture is upside down",
        _mounted(lambda mounting: mounting @ np.diag([-1.0, -1.0, 1.0, 1.0])),
    ),
    _CameraMistake(
        Mistake.upside_down,
        "the picture is upside down (turned by 180 degrees) against its calibration, or the mounting in tf is",
        changed=lambda edges: edges[::-1, ::-1],
    ),
    _CameraMistake(Mistake.mirrored, "the picture is mirrored, left to right", changed=lambda edges: edges[:, ::-1]),
    _CameraMistake(Mistake.mirrored, "the picture is mirrored, top to bottom", changed=lambda edges: edges[::-1]),
)
FOCAL_MISTAKES = tuple(
    _CameraMistake(
        Mistake.focal_length,
        f"the focal lengths in CameraInfo (k) should be about {factor:.2f} times theirs: was it made for another "
        "resolution or zoom? Calibrate again",
        _zoomed(factor),
    )
    for factor in FOCAL_FACTORS
)
EXCHANGED_SIDES = _CameraMistake(
    Mistake.exchanged_sides,
    "left and right are exchanged; base_link's y axis must point left (REP-103), or all left and right topics are "
    "swapped",
    _mounted(lambda mounting: _MIRROR @ mounting @ np.diag([-1.0, 1.0, 1.0, 1.0])),
)


def _yawed(degrees: float) -> np.ndarray:
    return make_transform(quaternion_from_yaw(np.radians(degrees)), np.zeros(3))


# What the points in the sensor's frame really are, and the mistake.
GROSS_CLOUD_MISTAKES: tuple[tuple[np.ndarray, Mistake, str], ...] = (
    (_yawed(180.0), Mistake.cloud_turned, "the cloud is turned by 180 degrees"),
    (_yawed(90.0), Mistake.cloud_turned, "the cloud is turned by -90 degrees"),
    (_yawed(-90.0), Mistake.cloud_turned, "the cloud is turned by 90 degrees"),
    (_MIRROR, Mistake.cloud_mirrored, "the cloud is mirrored: its left is on the right"),
    (np.diag([-1.0, 1.0, 1.0, 1.0]), Mistake.cloud_mirrored, "the cloud is mirrored: its left is on the right"),
    (np.diag([1.0, -1.0, -1.0, 1.0]), Mistake.cloud_upside_down, "the cloud is upside down"),
    (np.diag([-1.0, 1.0, -1.0, 1.0]), Mistake.cloud_upside_down, "the cloud is upside down"),
)
FINE_CLOUD_MISTAKES = tuple(
    (_yawed(-degrees), Mistake.cloud_yaw, f"the cloud is turned by about {degrees:g} degrees") for degrees in CLOUD_YAWS
)


def camera_explanations(
    evidence: Evidence, names: Iterable[str], mistakes: Sequence[_CameraMistake]
) -> list[Explanation]:
    """Mistakes of single cameras, and the same made with all of `names`."""
    names, found = list(names), []
    for made in mistakes:
        scores = {
            name: evidence.score(made.camera(evidence.cameras[name]), name, Change(edges=made.changed))
            for name in names
        }
        found += [Explanation(made.mistake, made.sentence, {name: scores[name]}) for name in names]
        if len(names) > 1:
            found.append(Explanation(made.mistake, made.sentence, scores, whole_rig=True))
    return found


def cloud_explanations(evidence: Evidence, mistakes: Sequence[tuple[np.ndarray, Mistake, str]]) -> list[Explanation]:
    """Mistakes with the cloud's frame, turned about the sensor itself (its driver's axes are others)."""
    return [
        Explanation(
            mistake,
            f"{sentence}; check the tf of the cloud's frame",
            {name: evidence.score(camera, name, Change(cloud=moved)) for name, camera in evidence.cameras.items()},
            whole_rig=True,
        )
        for moved, mistake, sentence in mistakes
    ]


def gross_cloud_explanations(evidence: Evidence) -> list[Explanation]:
    """Quarter turns and mirrors of the cloud about the sensor, and quarter turns of its place about base_link."""
    placed = evidence.moments[0].base_from_cloud
    about_base = [
        (invert(placed) @ moved @ placed, mistake, sentence)
        for moved, mistake, sentence in GROSS_CLOUD_MISTAKES
        if mistake is Mistake.cloud_turned
    ]
    return cloud_explanations(evidence, [*GROSS_CLOUD_MISTAKES, *about_base])


def side_explanation(evidence: Evidence) -> Explanation:
    """All cameras on the other side of the robot."""
    scores = {name: evidence.score(EXCHANGED_SIDES.camera(camera), name) for name, camera in evidence.cameras.items()}
    return Explanation(EXCHANGED_SIDES.mistake, EXCHANGED_SIDES.sentence, scores, whole_rig=True)


def place_explanations(evidence: Evidence, doubtful: Sequence[str]) -> list[Explanation]:
    """Pictures that were taken where tf has another camera, and pairs of cameras that are swapped."""
    cameras = list(evidence.cameras)
    as_if = {
        (picture, place): _as_if(evidence, picture, place)
        for picture in doubtful
        for place in cameras
        if picture != place
    }
    found = [
        Explanation(
            Mistake.elsewhere,
            f"its pictures were taken where tf has '{place}': check topics and tf",
            {picture: score},
            places={picture: place},
        )
        for (picture, place), score in as_if.items()
    ]
    for first, second in as_if:
        if first < second and (second, first) in as_if:
            sentence = f"cameras '{first}' and '{second}' are swapped: exchange their image topics, or their tf"
            scores = {first: as_if[first, second], second: as_if[second, first]}
            places = {first: second, second: first}
            found.append(Explanation(Mistake.swapped, sentence, scores, places=places))
    return found


def _as_if(evidence: Evidence, picture: str, place: str) -> float:
    """Score of one camera's pictures with another's mounting, through either camera's lens; NaN without any."""
    own, other = evidence.cameras[picture], evidence.cameras[place]
    moved = replace(own, ego_from_camera=other.ego_from_camera)
    scores = [evidence.score(other, picture), evidence.score(moved, picture)]
    return float(np.fmax(*scores))
