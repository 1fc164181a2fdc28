"""Was the cloud taken some seconds before or after its stamp? Pictures around it are tried, where the robot moved."""

from collections.abc import Iterator, Mapping

import numpy as np

from kd_perception.rig_check.agreement import edge_map, pushed_agreements, standard_score
from kd_perception.rig_check.evidence import Evidence
from kd_perception.rig_check.explanations import Explanation
from kd_perception.rig_check.mistake import Mistake
from kd_perception.rig_check.moments import read_pictures

LONGEST_S, STEP_S = 5.0, 0.2  # offsets that are tried, both ways
NEAR_S = 0.11  # a picture this far from the time wanted will do
APART_S = 1.0  # offsets further apart explain different things
CAMERAS, MOMENTS = 3, 6  # that are looked at: each picture must be decoded
AHEAD = 3.0  # by which the best offset's score must be above that of any other

_Spectra = Mapping[tuple[str, int], np.ndarray]


def clock_explanations(evidence: Evidence) -> list[Explanation]:
    """The offset of the cloud's clock with which pictures fit best, if one stands out; else nothing."""
    names = sorted(evidence.cameras, key=evidence.pictures, reverse=True)[:CAMERAS]
    offsets = np.arange(-LONGEST_S, LONGEST_S + STEP_S / 2, STEP_S)
    spectra = _spectra(evidence, names, offsets)
    scores = {float(offset): _scores(evidence, names, float(offset), spectra) for offset in offsets}
    totals = {offset: sum(values.values()) for offset, values in scores.items() if values}
    if not totals:
        return []
    best = max(totals, key=totals.__getitem__)
    others = [total for offset, total in totals.items() if abs(offset - best) > APART_S]
    if abs(best) < 1.5 * STEP_S or totals[best] < max(others, default=0.0) + AHEAD * np.sqrt(len(scores[best])):
        return []
    sentence = f"the cloud's stamps are about {-best:+.1f} s from the pictures'; synchronise the clocks (PTP or NTP)"
    return [Explanation(Mistake.cloud_clock, sentence, scores[best], whole_rig=True)]


def _spectra(evidence: Evidence, names: list[str], offsets: np.ndarray) -> _Spectra:
    """Edge spectra of the pictures that are wanted, by camera and stamp."""
    wanted: dict[str, set[int]] = {}
    for name in names:
        stamps = _stamps(evidence, name)
        for moment in evidence.moments[:MOMENTS]:
            found = (_nearest(stamps, moment.stamp_ns + int(offset * 1e9)) for offset in offsets)
            wanted.setdefault(name, set()).update(stamp for stamp in found if stamp is not None)
    pictures: Iterator[tuple[str, int, np.ndarray]] = read_pictures(evidence.recording, wanted)
    edges = {(name, stamp): edge_map(image) for name, stamp, image in pictures}
    return {
        key: np.fft.rfft(values, axis=1).astype(np.complex64) for key, values in edges.items() if values is not None
    }


def _scores(evidence: Evidence, names: list[str], offset: float, spectra: _Spectra) -> dict[str, float]:
    """Score of each camera if all clouds were taken `offset` seconds after their stamps; only those that have one."""
    scores = {}
    for name in names:
        stamps, total = _stamps(evidence, name), np.zeros(0)
        for moment, jumps in zip(evidence.moments[:MOMENTS], evidence.jumps, strict=False):
            stamp = _nearest(stamps, moment.stamp_ns + int(offset * 1e9))
            spectrum = spectra.get((name, stamp)) if stamp is not None else None
            if spectrum is None:
                continue
            seen = jumps.seen_by(evidence.cameras[name], np.eye(4), len(spectrum))
            if seen is not None:
                agreements = pushed_agreements(seen, spectrum)
                total = agreements if not total.size else total + agreements
        if total.size and np.isfinite(score := standard_score(total)):
            scores[name] = score
    return scores


def _stamps(evidence: Evidence, name: str) -> np.ndarray:
    record = next(record for record in evidence.recording.cameras if record.name == name)
    return np.unique(record.stamps_ns)


def _nearest(stamps: np.ndarray, at_ns: int) -> int | None:
    """The stamp nearest to a time, if it is near."""
    nearest = int(stamps[np.abs(stamps - at_ns).argmin()])
    return nearest if abs(nearest - at_ns) <= NEAR_S * 1e9 else None
