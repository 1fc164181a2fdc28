"""Seeded rows of KITTI label and result files: crowded frames, every class, ties and confusions."""

import numpy as np

from kd_perception.datasets.kitti_labels import KittiObject

KINDS = ("Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Truck", "Misc")
SHARES = (0.42, 0.08, 0.22, 0.05, 0.15, 0.04, 0.04)
SIZES = {"Pedestrian": (1.8, 0.6, 0.8), "Person_sitting": (1.3, 0.6, 0.8), "Cyclist": (1.7, 0.6, 1.8)}
CAR_SIZE = (1.5, 1.6, 3.9)


def row(**columns):
    """A car of 60 pixels in plain view, or what `columns` make of it."""
    plain = {
        "kind": "Car",
        "truncated": 0.0,
        "occluded": 0,
        "alpha": -10.0,
        "box": np.array([100.0, 100.0, 180.0, 160.0]),
        "size": np.array(CAR_SIZE),
        "location": np.array([0.0, 1.7, 20.0]),
        "rotation_y": 0.0,
        "score": None,
    }
    return KittiObject(**(plain | columns))


def random_frame(rng):
    """Labels and detections of a frame; detections are labels that moved, changed class or size, and inventions."""
    labels = [_object(rng) for _ in range(rng.integers(0, 10))]
    regions = [_region(rng) for _ in range(rng.integers(0, 4))]
    detections = []
    for label in labels:
        detections += [_detection(rng, label) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
    detections += [_detection(rng, _object(rng)) for _ in range(rng.integers(0, 4))]
    for region in regions:
        if rng.random() < 0.5:
            detections.append(_detection(rng, _object(rng, box=region.box + rng.uniform(-4, 4, 4))))
    order = rng.permutation(len(detections))
    return labels + regions, [detections[index] for index in order]


def _object(rng, box=None):
    kind = str(rng.choice(KINDS, p=SHARES))
    if box is None:
        left, top = rng.uniform(0, 1000), rng.uniform(100, 200)
        height = rng.uniform(15, 80)
        box = np.array([left, top, left + height * rng.uniform(0.6, 2.0), top + height])
    return row(
        kind=kind,
        truncated=float(rng.choice([0.0, 0.0, 0.1, 0.15, 0.3, 0.4, 0.6])),
        occluded=int(rng.choice([0, 0, 0, 1, 2, 3])),
        box=box,
        size=np.array(SIZES.get(kind, CAR_SIZE)) * rng.uniform(0.8, 1.2, 3),
        location=np.array([rng.uniform(-20, 20), rng.uniform(1.2, 2.0), rng.uniform(5, 60)]),
        rotation_y=float(rng.uniform(-np.pi, np.pi)),
    )


def _region(rng):
    left, top = rng.uniform(0, 1000), rng.uniform(100, 200)
    nowhere = {"size": -np.ones(3), "location": np.full(3, -1000.0), "rotation_y": -10.0}
    box = np.array([left, top, left + rng.uniform(20, 150), top + rng.uniform(20, 80)])
    return row(kind="DontCare", truncated=-1.0, occluded=-1, box=box, **nowhere)


def _detection(rng, label):
    spread = float(rng.choice([0.02, 0.06, 0.2]))
    changed = rng.random() < 0.12
    return row(
        kind=str(rng.choice(KINDS)) if changed else label.kind,
        truncated=-1.0,
        occluded=-1,
        box=label.box + rng.normal(0, spread * 30, 4) * [1, 0.5, 1, 0.5],
        size=label.size * rng.uniform(1 - spread, 1 + spread, 3),
        location=label.location + rng.normal(0, spread, 3),
        rotation_y=label.rotation_y + float(rng.normal(0, spread)),
        score=round(float(rng.uniform(0, 1)) * (0.7 if changed else 1.0), 2),  # ties occur
    )
