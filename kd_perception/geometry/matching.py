"""Which boxes of two answers mean the same object, as the nuScenes metric matches them (arXiv:1903.11027)."""

from typing import NamedTuple

import numpy as np

from kd_perception.geometry.boxes import Boxes

FOUND_M = 2.0  # metres between centres: the distance at which the metric takes its errors


class Match(NamedTuple):
    """Which ground-truth boxes (T,) were found, and which detections (N,) found one; bool. partner (N,): the box that
    each found, -1 for none."""

    found: np.ndarray
    hits: np.ndarray
    partner: np.ndarray


def match(detections: Boxes, ground_truth: Boxes) -> Match:
    """Match as the nuScenes metric does (arXiv:1903.11027).

    Best score first, each detection takes the nearest free box of its class whose centre is nearer than FOUND_M on the
    ground.
    """
    found, partner = np.zeros(len(ground_truth), bool), np.full(len(detections), -1)
    distance = np.linalg.norm(detections.center[:, None, :2] - ground_truth.center[None, :, :2], axis=-1)
    distance[detections.label[:, None] != ground_truth.label[None]] = np.inf
    for index in np.argsort(-detections.score, kind="stable"):
        free = np.where(found, np.inf, distance[index])
        if len(free) and free.min() < FOUND_M:
            partner[index] = free.argmin()
            found[partner[index]] = True
    return Match(found, partner >= 0, partner)
