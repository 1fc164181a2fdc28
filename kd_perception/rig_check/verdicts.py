"""Do the pictures fit the cloud, and if not, which mistake explains it?

The best explanation counts, and only where it clearly beats the rig as it is and the second best. Where none does,
the answer is that nothing can be said, and why.
"""

from collections.abc import Sequence

import numpy as np

from kd_perception.rig_check.clock import clock_explanations
from kd_perception.rig_check.evidence import FITS, Doubt, Evidence
from kd_perception.rig_check.explanations import (
    FINE_CLOUD_MISTAKES,
    FOCAL_MISTAKES,
    GROSS_MISTAKES,
    Explanation,
    camera_explanations,
    cloud_explanations,
    gross_cloud_explanations,
    place_explanations,
    side_explanation,
)
from kd_perception.rig_check.finding import Finding, Severity, named
from kd_perception.rig_check.mistake import Mistake
from kd_perception.rig_check.turn import turn_explanation

WINS = 6.0  # score that an explanation must reach: hundreds are tried, and chance alone gives the best of them 4
BETTER = 4.0  # by which it must be above the score of the rig as it is ...
MUCH_BETTER = 1.25  # ... and the factor
SECOND = 3.0  # by which it must be above that of any other explanation
CHANGED = 2.0  # a difference of scores that counts as one
WEAK = 0.5  # share of the other cameras' median score below which a camera's mounting is searched
MISFIT = 2.5  # below, a picture fits no better than one of something else ...
EXPECTED = 10.0  # ... which is worth a warning if the other cameras reach this score
FINE = (
    Mistake.focal_length,
    Mistake.mounting_turned,
    Mistake.cloud_yaw,
)  # worth a warning: the detector is worse, but not blind


def check_agreement(evidence: Evidence) -> list[Finding]:
    """Findings from pictures and cloud; none if all that can be compared fits."""
    if not evidence.any_cloud or not evidence.cameras:
        return []
    if evidence.scattered:
        text = (
            "cannot tell whether pictures fit the cloud: range jumps from nearly every point to the next, so its scan "
            "lines cannot be followed (thinned, filtered or merged, or its frame is not the sensor's); record the "
            "sensor's own cloud"
        )
        return [Finding(Severity.note, text, tuple(evidence.cameras), doubt=True)]
    chosen = explain(evidence)
    findings = [_finding(evidence, explanation) for explanation in chosen]
    if any(explanation.whole_rig for explanation in chosen):
        return findings
    explained = {name for explanation in chosen for name in explanation.scores}
    return findings + _unexplained(evidence, [name for name in evidence.cameras if name not in explained])


def explain(evidence: Evidence) -> list[Explanation]:
    """The explanations that hold, the one with the largest gain first; no camera is explained twice."""
    pool = _pool(evidence)
    chosen = [one for one in _choose(evidence, pool) if one.mistake not in FINE]
    explained = {name for one in chosen for name in one.scores}
    if any(one.whole_rig for one in chosen):
        return chosen
    # A search takes time: only where a small turn could be the answer, and none is certain yet.
    usual = float(np.median([_known(score) for score in evidence.given.values()]))
    weak = [name for name in evidence.given if _known(evidence.given[name]) < max(WEAK * usual, FITS)]
    focal = [name for one in _choose(evidence, pool) if one.mistake in FINE for name in one.scores]
    search = [
        name for name in dict.fromkeys([*weak, *focal]) if name not in explained and name in _comparable(evidence)
    ]
    return _choose(evidence, [*pool, *(turn_explanation(evidence, name) for name in search)])


def _choose(evidence: Evidence, pool: Sequence[Explanation]) -> list[Explanation]:
    chosen: list[Explanation] = []
    for explanation in sorted(pool, key=lambda one: -_gain(evidence, one)):
        taken = {name for other in chosen for name in other.scores}
        if not taken & set(explanation.scores) and _holds(evidence, explanation, pool):
            chosen.append(explanation)
    return chosen


def _pool(evidence: Evidence) -> list[Explanation]:
    """All explanations that are worth a trial, but for small turns."""
    doubtful = [name for name, score in evidence.given.items() if not score >= FITS]
    doubtful = [name for name in doubtful if evidence.doubts.get(name, Doubt.no_points) is Doubt.no_points]
    pool = camera_explanations(evidence, _comparable(evidence), FOCAL_MISTAKES)
    pool += cloud_explanations(evidence, FINE_CLOUD_MISTAKES)
    if doubtful:
        pool += camera_explanations(evidence, doubtful, GROSS_MISTAKES)
        pool += place_explanations(evidence, doubtful)
    if 2 * len(doubtful) >= len(evidence.cameras):
        pool += [*gross_cloud_explanations(evidence), side_explanation(evidence)]
        pool += clock_explanations(evidence)
    return pool


def _comparable(evidence: Evidence) -> list[str]:
    return [name for name, score in evidence.given.items() if np.isfinite(score)]


def _holds(evidence: Evidence, one: Explanation, pool: Sequence[Explanation]) -> bool:
    """Whether an explanation is far above chance, above the rig as it is, and above all others."""
    names, root = list(one.scores), np.sqrt(len(one.scores))
    scores = np.array([_known(one.scores[name]) for name in names])
    given = np.array([_known(evidence.given[name]) for name in names])
    gain = scores.sum() - given.sum()
    better, worse = (scores - given > CHANGED).sum(), (given - scores > CHANGED).sum()
    return bool(
        scores.sum() >= WINS * root
        and gain >= BETTER * root
        and scores.sum() >= MUCH_BETTER * given.sum()
        and better >= (2 if one.whole_rig and len(names) > 1 else 1)
        and better > 2 * worse
        and all(gain - _gain(evidence, other) >= SECOND * root for other in pool if one.rivals(other))
    )


def _gain(evidence: Evidence, explanation: Explanation) -> float:
    return sum(_known(score) - _known(evidence.given[name]) for name, score in explanation.scores.items())


def _finding(evidence: Evidence, explanation: Explanation) -> Finding:
    """The sentence of an explanation, with its figures."""
    names = tuple(explanation.scores)
    best = np.mean([_known(explanation.scores[name]) for name in names])
    given = np.mean([_known(evidence.given[name]) for name in names])
    figures = f"(pictures would fit the cloud by {best:.1f}, not {given:.1f})"
    severity = Severity.warning if explanation.mistake in FINE else Severity.error
    cloud = explanation.mistake.name.startswith("cloud_")
    if explanation.whole_rig:
        where = "" if cloud else "all cameras: "
        about = () if len(names) == len(evidence.cameras) else names
        return Finding(severity, f"{where}{explanation.sentence} {figures}", about, mistake=explanation.mistake)
    where = f"{named(names)}: " if len(names) == 1 else ""
    return Finding(severity, f"{where}{explanation.sentence} {figures}", names, mistake=explanation.mistake)


def _unexplained(evidence: Evidence, names: Sequence[str]) -> list[Finding]:
    """Why nothing can be said of cameras that fit neither as they are nor otherwise."""
    fitting = [score for score in evidence.given.values() if score >= FITS]
    findings = []
    for name in names:
        score = evidence.given[name]
        if score >= FITS:
            continue
        reason = str(evidence.doubts[name]) if name in evidence.doubts else ""
        if not reason and score < MISFIT and fitting and float(np.median(fitting)) >= EXPECTED:
            text = (
                f"camera '{name}': its pictures do not fit the cloud ({score:.1f}, the others reach "
                f"{np.median(fitting):.1f}), and no single mistake explains it: check whether its lens is covered, its "
                "mounting, its calibration and its time stamps"
            )
            findings.append(Finding(Severity.warning, text, (name,)))
            continue
        count = evidence.pictures(name)
        reason = reason or (
            f"{count} {'picture says' if count == 1 else 'pictures say'} too little; record longer, and where there "
            "are cars, poles and people"
        )
        text = f"camera '{name}': cannot tell whether its pictures fit the cloud: {reason}"
        findings.append(Finding(Severity.note, text, (name,), doubt=True))
    return findings


def _known(value: float) -> float:
    """A score as evidence: 0 where nothing is known, or less than nothing."""
    return max(0.0, value) if np.isfinite(value) else 0.0
