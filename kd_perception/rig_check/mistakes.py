"""Do the pictures fit the cloud, and if not, which mistake would explain it?

Every mistake is tried: the rig is changed as if it had been made, and what then fits much better is reported. The
figures are those of `agreement`: about 0 for a picture of something else, well above 5 for the right one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from kd_perception.geometry.transforms import invert
from kd_perception.rig_check.evidence import BETTER, FITS, Evidence
from kd_perception.rig_check.finding import Finding, Severity
from kd_perception.rig_check.turn import check_turn

RIG_BETTER = 3.0  # by which the mean of all cameras must be better, which spreads less than one camera's
SURELY = 7.5  # agreement that is needed where there is no figure of the calibration as it is to compare with

_MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
_BODY_FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
# Mistakes of mountings, of one camera or of all: what a mounting would really be, and the sentence.
MOUNTING_MISTAKES: tuple[tuple[Callable[[np.ndarray], np.ndarray], str], ...] = (
    (
        lambda mounting: mounting @ _BODY_FROM_OPTICAL,
        "the frame is a body frame (x forward); set CameraInfo's frame_id to the optical frame (z forward, x right, y "
        "down, REP-103)",
    ),
    (
        lambda mounting: mounting @ invert(_BODY_FROM_OPTICAL),
        "the mounting was turned into an optical frame twice; publish base_link -> optical frame once",
    ),
    (lambda mounting: mounting @ np.diag([-1.0, -1.0, 1.0, 1.0]), "the mounting in tf is rolled by 180 degrees"),
    (invert, "the transform is inverted; publish the pose of the camera in base_link, not the reverse"),
)
RIG_MISTAKES = (
    *MOUNTING_MISTAKES,
    (
        lambda mounting: _MIRROR @ mounting @ np.diag([-1.0, 1.0, 1.0, 1.0]),
        "left and right are exchanged; base_link's y axis must point left (REP-103), or all left and right topics are "
        "swapped",
    ),
)
CLOUD_MISTAKES: tuple[tuple[np.ndarray, str], ...] = (
    (np.diag([-1.0, -1.0, 1.0, 1.0]), "the cloud is turned by 180 degrees"),
    (np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "the cloud is turned by -90 degrees"),
    (np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "the cloud is turned by 90 degrees"),
    (_MIRROR, "the cloud is mirrored: its left is on the right"),
)
PICTURE_MISTAKES: tuple[tuple[Callable[[np.ndarray], np.ndarray], str], ...] = (
    (lambda ranks: ranks[::-1, ::-1], "is upside down (turned by 180 degrees) against its calibration"),
    (lambda ranks: ranks[:, ::-1], "is mirrored, left to right"),
    (lambda ranks: ranks[::-1], "is mirrored, top to bottom"),
)


def check_mistakes(evidence: Evidence) -> list[Finding]:
    """Findings from pictures and cloud, the likeliest mistake first; none if all that can be compared fits."""
    doubtful = [name for name, value in evidence.given.items() if value < FITS]
    blind = [name for name, value in evidence.given.items() if np.isnan(value) and evidence.sees_no_cloud(name)]
    if not evidence.any_cloud:
        return []
    if not (doubtful or blind):
        return [finding for name in evidence.given for finding in check_turn(evidence, name)]
    for finding in (_rig_mistake(evidence), _cloud_mistake(evidence)):
        if finding is not None:
            return [finding]
    findings, explained = _swaps(evidence, doubtful)
    for name in doubtful:
        if name not in explained:
            findings += (
                _picture_mistake(evidence, name)
                or _mounting_mistake(evidence, name)
                or check_turn(evidence, name)
                or _misfit(evidence, name)
            )
    for name in blind:
        findings += _mounting_mistake(evidence, name)
    if not findings and _mean(evidence.given) < FITS / 2.0:
        text = (
            f"no camera's pictures fit the cloud (on average {_mean(evidence.given):.1f}; from {FITS:g} on they do), "
            "and no single mistake explains it: check time stamps, the cloud's frame and the cameras' mountings"
        )
        findings.append(Finding(Severity.warning, text))
    return findings


def _rig_mistake(evidence: Evidence) -> Finding | None:
    given = _mean(evidence.given)
    best, sentence = max(
        (
            _mean({
                name: evidence.score(replace(camera, ego_from_camera=mistake(camera.ego_from_camera)), name)
                for name, camera in evidence.cameras.items()
            }),
            sentence,
        )
        for mistake, sentence in RIG_MISTAKES
    )  # fmt: skip
    return _explanation(best, given, f"all cameras: {sentence}")


def _cloud_mistake(evidence: Evidence) -> Finding | None:
    given = _mean(evidence.given)
    best, sentence = max(
        (_mean({name: evidence.score(c, name, moved=moved) for name, c in evidence.cameras.items()}), sentence)
        for moved, sentence in CLOUD_MISTAKES
    )
    return _explanation(best, given, f"{sentence}; check the tf of the cloud's frame")


def _explanation(best: float, given: float, sentence: str) -> Finding | None:
    if best < FITS or best < given + RIG_BETTER:
        return None
    return Finding(Severity.error, f"{sentence} (pictures would fit the cloud by {best:.1f} instead of {given:.1f})")


def _swaps(evidence: Evidence, doubtful: Sequence[str]) -> tuple[list[Finding], set[str]]:
    """Cameras whose pictures fit another camera's mounting, and their names."""
    findings, explained = [], set()
    for picture in doubtful:
        given = _known(evidence.given[picture])
        places = [name for name in evidence.cameras if name != picture]
        best, place = max(((_as_if(evidence, picture, place), place) for place in places), default=(0.0, ""))
        if picture in explained or best < max(FITS, given + BETTER):
            continue
        figures = f"'{picture}' would fit the cloud by {best:.1f}, not {given:.1f}"
        # The reverse needs less: one exchange that explains two cameras is likelier than two mistakes.
        if (
            place in doubtful
            and _as_if(evidence, place, picture) > max(FITS, _known(evidence.given[place]) + BETTER) / 2
        ):
            first, second = sorted((picture, place))
            sentence = f"cameras '{first}' and '{second}' are swapped: exchange their image topics, or their tf"
            explained |= {picture, place}
        else:
            sentence = f"the pictures of camera '{picture}' were taken where tf has '{place}': check topics and tf"
            explained.add(picture)
        findings.append(Finding(Severity.error, f"{sentence} ({figures})", (picture, place)))
    return findings, explained


def _as_if(evidence: Evidence, picture: str, place: str) -> float:
    """Agreement of one camera's pictures with another's mounting, through either camera's lens."""
    own, other = evidence.cameras[picture], evidence.cameras[place]
    moved = replace(own, ego_from_camera=other.ego_from_camera)
    return max(_known(evidence.score(other, picture)), _known(evidence.score(moved, picture)))


def _picture_mistake(evidence: Evidence, name: str) -> list[Finding]:
    camera, given = evidence.cameras[name], _known(evidence.given[name])
    best, sentence = max(
        (_known(evidence.score(camera, name, changed=change)), sentence) for change, sentence in PICTURE_MISTAKES
    )
    if best < max(FITS, given + BETTER):
        return []
    text = f"the picture of camera '{name}' {sentence} (it would fit the cloud by {best:.1f}, not {given:.1f})"
    return [Finding(Severity.error, text, (name,))]


def _mounting_mistake(evidence: Evidence, name: str) -> list[Finding]:
    camera, given = evidence.cameras[name], evidence.given[name]
    best, sentence = max(
        (_known(evidence.score(replace(camera, ego_from_camera=mistake(camera.ego_from_camera)), name)), sentence)
        for mistake, sentence in MOUNTING_MISTAKES
    )
    if best < (SURELY if np.isnan(given) else max(FITS, given + BETTER)):
        return []
    text = f"camera '{name}': {sentence} (its picture would fit the cloud by {best:.1f}, not {_known(given):.1f})"
    return [Finding(Severity.error, text, (name,))]


def _misfit(evidence: Evidence, name: str) -> list[Finding]:
    """A camera alone in not fitting, for whatever reason."""
    given = evidence.given[name]
    others = [value for other, value in evidence.given.items() if other != name and value >= FITS]
    if not given < FITS / 2.0 or not others:
        return []
    text = (
        f"the pictures of camera '{name}' do not fit the cloud ({given:.1f}, while {len(others)} others reach "
        f"{min(others):.1f} and more): check its mounting, its calibration and its time stamps"
    )
    return [Finding(Severity.warning, text, (name,))]


def _known(value: float) -> float:
    return 0.0 if np.isnan(value) else value


def _mean(values: Mapping[str, float]) -> float:
    """Mean agreement of all cameras; those that cannot be compared count 0."""
    return float(np.mean([_known(value) for value in values.values()])) if values else 0.0
