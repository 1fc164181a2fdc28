"""Checks of time stamps: clocks that differ, cameras that do not fire together, images that are missing."""

import numpy as np

from kd_perception.rig_check.finding import Finding, Severity
from kd_perception.rig_check.mistake import Mistake
from kd_perception.rig_check.recording import CameraRecord, Recording

CLOCK_S = 0.5  # stamps this far from the other sensors' were made by another clock
TOGETHER_S = 0.06  # the detector's default tolerance between the anchor's image and the others'


def anchor_of(recording: Recording) -> CameraRecord:
    """The camera that gives frames their time: the shortest name with 'front' in it, else the first."""
    fronts = [record for record in recording.cameras if "front" in record.name.lower()]
    return min(fronts, key=lambda record: len(record.name), default=recording.cameras[0])


def offsets_s(record: CameraRecord, anchor: CameraRecord) -> np.ndarray:
    """Seconds from each of the anchor's images to the camera's nearest one (N,); empty without images."""
    if not record.stamps_ns or not anchor.stamps_ns:
        return np.zeros(0)
    own, reference = np.sort(record.stamps_ns), np.sort(anchor.stamps_ns)
    after = np.clip(np.searchsorted(own, reference), 1, max(1, len(own) - 1))
    candidates = np.stack([own[np.clip(after - 1, 0, None)], own[np.clip(after, None, len(own) - 1)]])
    differences = (candidates - reference) / 1e9
    return differences[np.abs(differences).argmin(axis=0), np.arange(len(reference))]


def check_stamps(recording: Recording) -> list[Finding]:
    """All findings about time."""
    findings = []
    anchor = anchor_of(recording)
    usual = np.median([len(record.stamps_ns) for record in recording.cameras])
    delays = {r.name: np.median(np.subtract(r.logged_ns, r.stamps_ns)) / 1e9 for r in recording.cameras if r.stamps_ns}
    typical = float(np.median(list(delays.values()))) if delays else 0.0
    for record in recording.cameras:
        name, stamps = record.name, np.array(record.stamps_ns, dtype=np.int64)
        if not len(stamps):
            findings.append(Finding(Severity.error, f"camera '{name}': no image on {record.topics.image}", (name,)))
            continue
        if twice := len(stamps) - len(set(record.stamps_ns) - {0}) - int((stamps == 0).sum()):
            sentence = (
                f"camera '{name}': {twice} of {len(stamps)} images have the stamp of another; a driver that repeats "
                "images or stamps, or two publishers: the detector takes one of each"
            )
            findings.append(Finding(Severity.warning, sentence, (name,)))
        if (stamps == 0).any():
            sentence = f"camera '{name}': {(stamps == 0).sum()} images have no time stamp (0); set header.stamp"
            findings.append(Finding(Severity.error, sentence, (name,)))
            continue
        if backward := int((np.diff(stamps) < 0).sum()):
            sentence = f"camera '{name}': its stamps go back {backward} times; two publishers, or a clock that was set"
            findings.append(Finding(Severity.warning, sentence, (name,)))
        if abs(delays[name] - typical) > CLOCK_S:
            sentence = (
                f"camera '{name}': its stamps are {typical - delays[name]:+.2f} s from the other cameras'; synchronise "
                "its clock, or stamp images with the robot's"
            )
            findings.append(Finding(Severity.error, sentence, (name,)))
            continue
        apart = float(np.median(np.abs(offsets_s(record, anchor))))
        if apart > TOGETHER_S:
            sentence = (
                f"camera '{name}': its nearest image is typically {1e3 * apart:.0f} ms from that of '{anchor.name}', "
                f"more than the {1e3 * TOGETHER_S:.0f} ms within which images count as one frame"
            )
            findings.append(Finding(Severity.warning, sentence, (name,)))
        if len(stamps) < 0.5 * usual:
            sentence = f"camera '{name}': {len(stamps)} images, while the others have about {usual:.0f}"
            findings.append(Finding(Severity.warning, sentence, (name,)))
    return findings + _check_cloud(recording, typical)


def _check_cloud(recording: Recording, typical: float) -> list[Finding]:
    """The cloud's stamps against those of the cameras, whose images are usually recorded `typical` s after theirs."""
    stamps = np.array(recording.cloud_stamps_ns, dtype=np.int64)
    if not recording.cloud_topic:
        return []
    where = f"cloud {recording.cloud_topic}"
    if not len(stamps):
        return [Finding(Severity.warning, f"no cloud could be read from {recording.cloud_topic}")]
    if (stamps == 0).any():
        sentence = f"{where}: {(stamps == 0).sum()} clouds have no time stamp (0); set header.stamp"
        return [Finding(Severity.error, sentence)]
    findings = []
    if twice := len(stamps) - len(np.unique(stamps)):
        sentence = f"{where}: {twice} of {len(stamps)} clouds have the stamp of another; are there two publishers?"
        findings.append(Finding(Severity.warning, sentence))
    if any(record.stamps_ns for record in recording.cameras):
        delay = float(np.median(np.subtract(recording.cloud_logged_ns, stamps))) / 1e9
        if abs(delay - typical) > CLOCK_S:
            sentence = (
                f"{where}: its stamps are {typical - delay:+.2f} s from the cameras'; synchronise its clock (PTP or "
                "NTP), or stamp clouds with the robot's"
            )
            findings.append(Finding(Severity.error, sentence, mistake=Mistake.cloud_clock))
    return findings
