"""Whether boxes lie where LiDAR points are: in which frame they are, and which way their longer side points.

A cloud is counted in the boxes as they are stored, turned by 90 degrees, and as if they were given in ego, in the
LiDAR's frame or in the anchor camera's. Another reading is named only if it holds several times as many boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.data_check.labels import LabelArrays, read_label_arrays
from kd_perception.data_check.motion import FEWEST, MAJORITY, motion_known
from kd_perception.datasets.nuscenes import ego_pose, load_frame, read_lidar, sensor_transform
from kd_perception.errors import DataError
from kd_perception.geometry.box_geometry import count_points_in_boxes
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import apply, invert
from kd_perception.rig_check.finding import Finding, Severity

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

HIT = 4  # points that a box needs to count as hit
NEAR = 30.0  # metres: boxes this near should hold points
FEWEST_NEAR = 10
HIT_SHARE = 0.15  # of near boxes: fewer is wrong
OTHER_SHARE, OTHER_TIMES = 0.3, 3.0  # of boxes that another reading must hit, and times what the stored one hits
LONG = 1.4  # longer by shorter side: else a turn by 90 degrees shows nothing
CLEAR_POINTS = 15
CLEAR_TIMES = 1.3
GROUND = 0.3  # metres above a box's bottom: below, points may be the street's
STORED = "global"
LONG_WORDS = ("car", "truck", "bus", "van", "trailer", "bicycle", "motorcycle", "cyclist", "vehicle")


@dataclass(frozen=True, eq=False)
class HitBoxes:
    """Boxes whose points were counted: `labels`, `distance` (N,) metres from ego as they are stored, and points (N,)
    by reading of the boxes; `upright` and `turned` (N,): points above the ground, as stored and turned."""

    labels: LabelArrays
    distance: np.ndarray
    points: Mapping[str, np.ndarray]
    upright: np.ndarray
    turned: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def hits(self, reading: str = STORED) -> np.ndarray:
        """(N,) bool: boxes that hold points by a reading."""
        return self.points[reading] >= HIT


def count_returns(nusc: "Tables", samples: Sequence[str]) -> tuple[HitBoxes | None, list[Finding]]:
    """Count the clouds of the samples in their boxes, None where no sample has both; findings tell of
    clouds that cannot be read."""
    counted, unread = [], []
    for sample in (sample for sample in samples if _has_cloud(nusc, sample)):
        try:
            counted.append(_count(nusc, sample))
        except DataError as error:
            unread.append(str(error))
    counted = [part for part in counted if len(part)]
    findings = [Finding(Severity.error, f"{len(unread)} clouds cannot be read: {unread[0]}")] if unread else []
    if not counted:
        return None, findings
    readings = set.intersection(*(set(part.points) for part in counted))
    merged = [np.concatenate([getattr(part, name) for part in counted]) for name in ("distance", "upright", "turned")]
    points = {name: np.concatenate([part.points[name] for part in counted]) for name in readings}
    names = [field.name for field in fields(LabelArrays)]
    labels = LabelArrays(*(np.concatenate([getattr(part.labels, name) for part in counted]) for name in names))
    return HitBoxes(labels, merged[0], points, merged[1], merged[2]), findings


def check_frames(hit: HitBoxes) -> list[Finding]:
    """Boxes that are given in another frame than global, or lie where no points are."""
    stored = int(hit.hits().sum())
    others = {name: int(hit.hits(name).sum()) for name in hit.points if name != STORED}
    best = max(others, key=lambda name: others[name], default=None)
    if best and len(hit) >= FEWEST - 2 and others[best] >= max(3, OTHER_SHARE * len(hit), OTHER_TIMES * stored):
        return [
            Finding(
                Severity.error,
                f"{others[best]} of {len(hit)} boxes hold points if they are given in {best}, {stored} as they are "
                "stored: convert centre and rotation to the global frame with the ego pose",
            )
        ]
    near = hit.distance < NEAR
    if near.sum() >= FEWEST_NEAR and hit.hits()[near].mean() < HIT_SHARE:
        return [
            Finding(
                Severity.error,
                f"{(near & ~hit.hits()).sum()} of {near.sum()} boxes within {NEAR:.0f} m hold fewer than {HIT} LiDAR "
                "points: boxes, ego poses or the LiDAR's calibration are in another frame",
            )
        ]
    return _recounted(hit)


def check_turns(hit: HitBoxes, labels: LabelArrays) -> list[Finding]:
    """Categories whose points fill the boxes better when these are turned by 90 degrees; those that move are judged
    by their motion."""
    findings = []
    for category in hit.labels.categories:
        clear = _clear(hit, category)
        if clear.sum() < FEWEST or motion_known(labels, category):
            continue
        turned = hit.turned[clear] > CLEAR_TIMES * hit.upright[clear]
        if turned.mean() > MAJORITY:
            findings.append(Finding(Severity.error, _turned_sentence(category, hit.labels.size[clear], turned)))
    return findings


def check_judged(hit: HitBoxes | None, labels: LabelArrays) -> list[Finding]:
    """What neither motion nor points can judge."""
    if not len(labels) or any(motion_known(labels, category) for category in labels.categories):
        return []
    if hit is not None and any(_clear(hit, category).sum() >= FEWEST for category in hit.labels.categories):
        return []
    sentence = (
        f"no category has {FEWEST} moving boxes, or {FEWEST} long ones of {CLEAR_POINTS} points: whether yaw, length "
        "and width are right cannot be told; look at the pictures"
    )
    return [Finding(Severity.note, sentence, doubt=True)]


def _clear(hit: HitBoxes, category: str) -> np.ndarray:
    """(N,) bool: boxes of a category that are longer than wide, or wider than long, and hold many points."""
    size = hit.labels.size
    long = size[:, :2].max(axis=1) > LONG * size[:, :2].min(axis=1)
    return long & (hit.labels.category == category) & (np.maximum(hit.upright, hit.turned) >= CLEAR_POINTS)


def _turned_sentence(category: str, size: np.ndarray, turned: np.ndarray) -> str:
    length, width = np.median(size[:, 0]), np.median(size[:, 1])
    known = any(word in category.lower() for word in LONG_WORDS)
    cause = "length and width are swapped, or yaw is turned by 90 degrees"
    if known:
        cause = "length and width are swapped" if length < width else "yaw is turned by 90 degrees"
    return (
        f"'{category}', {turned.sum()} of {len(turned)} boxes of length {length:.1f} m and width {width:.1f} m hold "
        f"more points when turned by 90 degrees: {cause}; correct the conversion of the labels"
    )


def _recounted(hit: HitBoxes) -> list[Finding]:
    """Where the tables' own counts of points say otherwise."""
    stated = hit.labels.points >= 2 * HIT
    lost = stated & (hit.points[STORED] == 0)
    if stated.sum() >= FEWEST and lost.sum() > stated.sum() / 2:
        return [
            Finding(
                Severity.error,
                f"{lost.sum()} of {stated.sum()} boxes with points by the tables (num_lidar_pts) hold none: boxes, ego "
                "poses or clouds belong to another moment or frame",
            )
        ]
    return []


def _has_cloud(nusc: "Tables", sample: str) -> bool:
    rows = nusc.rig_of(sample).lidar_rows(nusc, sample)
    return bool(rows) and all((Path(nusc.dataroot) / row["filename"]).is_file() for row in rows)


def _count(nusc: "Tables", sample: str) -> HitBoxes:
    labels = read_label_arrays(nusc, [sample])
    rows = nusc.rig_of(sample).lidar_rows(nusc, sample)
    global_from_ego = ego_pose(nusc, rows[0])
    clouds = [
        apply(invert(global_from_ego) @ ego_pose(nusc, row) @ sensor_transform(nusc, row), read_lidar(nusc, row)[:, :3])
        for row in rows
    ]
    points = np.concatenate(clouds).astype(float)
    boxes = Boxes(labels.center, labels.size, labels.yaw, labels.displacement, np.zeros(len(labels), int), labels.yaw)
    readings = {
        STORED: invert(global_from_ego),
        "ego (base_link)": np.eye(4),
        f"the LiDAR's frame ({rows[0]['channel']})": sensor_transform(nusc, rows[0]),
    }
    counts = {name: _inside(points, boxes.transformed(transform)) for name, transform in readings.items()}
    if nusc.rig_of(sample).cameras:
        camera = load_frame(nusc, sample).images[0].camera
        counts["the frame of the anchor camera"] = _inside_spheres(points, boxes, camera.ego_from_camera)
    ego = boxes.transformed(invert(global_from_ego))
    above = _raised(ego)
    turned = Boxes(above.center, above.size[:, [1, 0, 2]], above.yaw, above.velocity, above.label, above.score)
    distance = np.linalg.norm(ego.center[:, :2], axis=1)
    return HitBoxes(labels, distance, counts, _inside(points, above), _inside(points, turned))


def _inside(points: np.ndarray, boxes: Boxes) -> np.ndarray:
    return count_points_in_boxes(points, boxes.center, boxes.size, boxes.yaw)


def _inside_spheres(points: np.ndarray, boxes: Boxes, ego_from_camera: np.ndarray) -> np.ndarray:
    """Points near centres that are read in an optical frame, where yaw means nothing: within half the smallest side."""
    side = np.repeat(boxes.size.min(axis=1, keepdims=True), 3, axis=1) if len(boxes) else boxes.size
    return count_points_in_boxes(points, apply(ego_from_camera, boxes.center), side, np.zeros(len(boxes)))


def _raised(boxes: Boxes) -> Boxes:
    """The boxes without their lowest part, which the street may fill."""
    cut = np.minimum(GROUND, boxes.size[:, 2] / 2.0)
    center, size = boxes.center.copy(), boxes.size.copy()
    center[:, 2] += cut / 2.0
    size[:, 2] -= cut
    return Boxes(center, size, boxes.yaw, boxes.velocity, boxes.label, boxes.score)
