"""Proposes which pixels show the robot's own body: what looks the same while the robot moves and all else changes.

A plain area says nothing: sky and asphalt look alike everywhere, too. A straight edge says little: horizon and lane
lines stay where they are on a straight road. So fine structure in both directions must be the same in nearly all pairs
of pictures; plain areas that it encloses belong to it. A proposal is to be looked at: it is written, never used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from kd_perception.atomic import write_bytes
from kd_perception.drawing.cameras import encode_image
from kd_perception.rig_check.moments import Moment
from kd_perception.rig_check.recording import Recording

FOLDER = "ego_mask"
STEP_M = 2.0  # between two pictures, so that the world has moved in them
FEWEST = 6  # such pictures
DETAIL, WINDOW = 4.0, 17  # pixels of 800: what is finer is structure; where it is compared
FAINT = 2.0  # levels: weaker structure is noise
AGREES, PAIRS = 0.75, 0.9  # correlation of structure that is the same, and the share of pairs that reach it
SLOPE, BOTH = 0.7, 0.1  # levels per pixel across the weaker direction, and its share of both
STEADY = 12.0  # levels by which a plain area may change
LEAST, MOST = 0.01, 0.6  # share of a picture that can be a body
RIM = 4  # pixels of 800 that are added around


@dataclass(frozen=True)
class EgoMask:
    """A camera's proposal: pixels (height, width) bool of its published picture; sentence: '' or why there is none."""

    camera: str
    pixels: np.ndarray
    sentence: str = ""


def propose_masks(recording: Recording, moments: Sequence[Moment], base_frame: str) -> list[EgoMask]:
    """A proposal for each camera that sees something of the robot, or why nobody can tell."""
    apart = _moved(recording, moments, base_frame)
    proposals = []
    for record in recording.cameras:
        views = [moment.views[record.name] for moment in apart if record.name in moment.views]
        if len(views) < FEWEST:
            found = f"pictures of {len(views)} of {FEWEST} places {STEP_M:g} m apart"
            proposals.append(_none(record.name, f"{found}; record a drive, or raise --moments"))
            continue
        if len({view.image.shape for view in views}) > 1:
            proposals.append(_none(record.name, "its pictures change their size"))
            continue
        small = unchanging([view.image for view in views])
        if small.mean() > MOST:
            proposals.append(
                _none(record.name, f"{100 * small.mean():.0f} % of its picture stay the same: is it frozen?")
            )
        elif small.any():
            full = cv2.resize(small.astype(np.uint8), views[0].size, interpolation=cv2.INTER_NEAREST)
            proposals.append(EgoMask(record.name, full.astype(bool)))
    return proposals


def unchanging(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pixels (height, width) bool that look the same in all RGB pictures (height, width, 3), though there is structure.

    Only areas that reach the picture's border count: a body does, dirt on the lens need not.
    """
    stack = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in pictures])
    fine = np.stack([layer - cv2.GaussianBlur(layer, (0, 0), DETAIL) for layer in stack])
    same = (_agreement(fine) > AGREES) & _has_corners(fine.mean(axis=0))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * WINDOW - 1, 2 * WINDOW - 1))
    same = cv2.morphologyEx(same.astype(np.uint8), cv2.MORPH_CLOSE, kernel).astype(bool)
    ordered = np.sort([cv2.GaussianBlur(layer, (0, 0), 2.0) for layer in stack], axis=0)
    body = same | _enclosed(same, ordered[-2] - ordered[1] < STEADY)  # one picture may have a reflection
    count, labels = cv2.connectedComponents(body.astype(np.uint8))
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    least = LEAST * body.size
    kept = [label for label in range(1, count) if label in border and (labels == label).sum() >= least]
    mask = np.isin(labels, kept).astype(np.uint8)
    return cv2.dilate(mask, np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)).astype(bool)


def write_masks(proposals: Sequence[EgoMask], folder: Path) -> list[str]:
    """Write each mask as a PNG into `folder`/ego_mask; a sentence for each camera, one where all are alike."""
    sentences = []
    for proposal in proposals:
        if proposal.sentence:
            continue
        path = folder / FOLDER / f"{proposal.camera.replace('/', '_')}.png"
        write_bytes(
            path, encode_image(np.where(proposal.pixels, 255, 0).astype(np.uint8)[..., None].repeat(3, 2), ".png")
        )
        sentences.append(
            f"camera '{proposal.camera}': {100 * proposal.pixels.mean():.0f} % of its picture stay the same while the "
            f"robot moves; look at {path}, and give it as ignore_mask if it is the robot"
        )
    reasons = {proposal.sentence for proposal in proposals if proposal.sentence}
    for reason in sorted(reasons):
        names = ", ".join(proposal.camera for proposal in proposals if proposal.sentence == reason)
        sentences.append(f"cannot tell where {names} sees the robot itself: {reason}")
    return sentences


def _none(camera: str, why: str) -> EgoMask:
    return EgoMask(camera, np.zeros((0, 0), bool), why)


def _moved(recording: Recording, moments: Sequence[Moment], base_frame: str) -> list[Moment]:
    """Moments between which the robot has moved; those after the first of a place are left out."""
    kept: list[Moment] = []
    for moment in moments:
        if not kept:
            kept.append(moment)
            continue
        motion = recording.ego_motion(base_frame, moment.stamp_ns, kept[-1].stamp_ns)
        if np.linalg.norm(motion[:3, 3]) >= STEP_M:
            kept.append(moment)
    return kept


def _agreement(fine: np.ndarray) -> np.ndarray:
    """Correlation (height, width) of structure (K, height, width) around each pixel that nearly all pairs reach.

    Pictures of different places agree by chance in some pairs, and far away in most of them; a body does in all.
    """
    energy = [np.sqrt(_mean(layer * layer)) for layer in fine]
    pairs = combinations(range(len(fine)), 2)
    agreements = [_mean(fine[j] * fine[k]) / (energy[j] * energy[k] + FAINT**2) for j, k in pairs]
    return np.quantile(agreements, 1.0 - PAIRS, axis=0)


def _has_corners(fine: np.ndarray) -> np.ndarray:
    """Where structure (height, width) runs in both directions: the weaker eigenvalue of its gradients' covariance."""
    du, dv = (cv2.Sobel(fine, cv2.CV_32F, *order) / 8.0 for order in ((1, 0), (0, 1)))
    uu, vv, uv = _mean(du * du), _mean(dv * dv), _mean(du * dv)
    weaker = (uu + vv - np.sqrt((uu - vv) ** 2 + 4.0 * uv**2)) / 2.0
    return (weaker > SLOPE**2) & (weaker > BOTH * (uu + vv))


def _mean(layer: np.ndarray) -> np.ndarray:
    return cv2.blur(layer, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT)


def _enclosed(same: np.ndarray, steady: np.ndarray) -> np.ndarray:
    """Areas between what is the same and the border that hardly change: plain parts of a body."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~same).astype(np.uint8))
    quiet = np.bincount(labels.ravel(), steady.ravel(), minlength=count) / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    small = stats[:, cv2.CC_STAT_AREA] < MOST * same.size
    return np.isin(labels, [label for label in range(1, count) if quiet[label] > 0.95 and small[label]])
