"""One log of Argoverse 2's sensor data set (Wilson et al., NeurIPS 2021): cameras, poses and boxes, in our conventions.

Argoverse's egovehicle frame has its origin on the rear axle, GROUND below which the road lies; ego here stands on the
road, as nuScenes has it. The city is global. Quaternions are w, x, y, z; boxes are given about their centre. Pictures
are undistorted: k1, k2 and k3 of intrinsics.feather tell of the lens before that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_perception.datasets.feather import read_feather
from kd_perception.datasets.written_tables import LabelledBox
from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import interpolate, invert, make_transform, yaw_of

GROUND = 0.33  # metres from the rear axle down to the road
EGO_FROM_EGOVEHICLE = make_transform(np.eye(3), np.array([0.0, 0.0, GROUND]))
POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
SIZE = ("length_m", "width_m", "height_m")
POSES_FILE, BOXES_FILE = "city_SE3_egovehicle.feather", "annotations.feather"
LONGEST_GAP_NS = 200_000_000  # between poses, and from the first or last one: further off, nobody knows where ego was

CATEGORIES = {  # those that mean the same in nuScenes
    "ANIMAL": "animal",
    "ARTICULATED_BUS": "vehicle.bus.bendy",
    "BICYCLE": "vehicle.bicycle",
    "BUS": "vehicle.bus.rigid",
    "CONSTRUCTION_CONE": "movable_object.trafficcone",
    "MOTORCYCLE": "vehicle.motorcycle",
    "PEDESTRIAN": "human.pedestrian.adult",
    "REGULAR_VEHICLE": "vehicle.car",
    "STROLLER": "human.pedestrian.stroller",
    "TRUCK": "vehicle.truck",
    "VEHICULAR_TRAILER": "vehicle.trailer",
    "WHEELCHAIR": "human.pedestrian.wheelchair",
}
OTHERS = {
    "BICYCLIST", "BOLLARD", "BOX_TRUCK", "CONSTRUCTION_BARREL", "DOG", "LARGE_VEHICLE", "MESSAGE_BOARD_TRAILER",
    "MOBILE_PEDESTRIAN_CROSSING_SIGN", "MOTORCYCLIST", "OFFICIAL_SIGNALER", "RAILED_VEHICLE", "SCHOOL_BUS", "SIGN",
    "STOP_SIGN", "TRAFFIC_LIGHT_TRAILER", "TRUCK_CAB", "WHEELED_DEVICE", "WHEELED_RIDER",
}  # fmt: skip


def category(kind: str) -> str:
    """The category of an Argoverse 2 class: nuScenes' where both mean the same, else `av2.` and the class."""
    return CATEGORIES.get(kind, f"av2.{kind}")


@dataclass(frozen=True, eq=False)
class Av2Poses:
    """Where the vehicle was: rising stamps (N,) in nanoseconds, and `city_from_egovehicle` (N, 4, 4)."""

    stamps_ns: np.ndarray
    transforms: np.ndarray

    def city_from_ego(self, stamp_ns: int) -> np.ndarray | None:
        """Of ego on the road (4, 4), between the two nearest poses; None where none is near."""
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        around = [index for index in (after - 1, after) if 0 <= index < len(self.stamps_ns)]
        gap = abs(self.stamps_ns[around] - stamp_ns).max()
        if after < len(self.stamps_ns) and self.stamps_ns[after] == stamp_ns:
            pose = self.transforms[after]
        elif gap > LONGEST_GAP_NS:
            return None
        elif len(around) == 1:
            pose = self.transforms[around[0]]
        else:
            begin, end = self.stamps_ns[around]
            pose = interpolate(*self.transforms[around], (stamp_ns - begin) / (end - begin))
        return pose @ invert(EGO_FROM_EGOVEHICLE)


def read_poses(log: Path) -> Av2Poses:
    """Poses of a log in time order; raises DataError for a missing or unfit file."""
    path = log / POSES_FILE
    columns = read_feather(path, ("timestamp_ns", *POSE))
    stamps = columns["timestamp_ns"]
    if not len(stamps):
        raise DataError(f"{path} holds no pose; restore it")
    order = np.argsort(stamps, kind="stable")
    return Av2Poses(stamps[order], _transforms(path, columns)[order])


def read_cameras(log: Path, names: Sequence[str]) -> dict[str, Camera]:
    """The cameras of those names that are calibrated; raises DataError for calibration that cannot be used."""
    path, mountings_path = (
        log / "calibration" / "intrinsics.feather",
        log / "calibration" / "egovehicle_SE3_sensor.feather",
    )
    given = read_feather(path, ("sensor_name", "fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px"))
    columns = read_feather(mountings_path, ("sensor_name", *POSE))
    mountings = dict(zip(columns["sensor_name"], _transforms(mountings_path, columns), strict=True))
    cameras = {}
    for row, name in enumerate(given["sensor_name"]):
        if name not in names or name not in mountings:
            continue
        fx, fy, cx, cy = (float(given[key][row]) for key in ("fx_px", "fy_px", "cx_px", "cy_px"))
        try:
            cameras[name] = Camera.from_integer_centred(
                name,
                np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
                EGO_FROM_EGOVEHICLE @ mountings[name],
                width=int(given["width_px"][row]),
                height=int(given["height_px"][row]),
            )
        except CalibrationError as error:
            raise DataError(f"{path}: {error}") from error
    return cameras


@dataclass(frozen=True, eq=False)
class Av2Boxes:
    """The labels of a log as columns: of each, where it is (N, 4, 4) in the egovehicle frame at its stamp."""

    columns: Mapping[str, np.ndarray]
    egovehicle_from_box: np.ndarray

    @property
    def stamps_ns(self) -> list[int]:
        """The labelled moments, in order."""
        return np.unique(self.columns["timestamp_ns"]).tolist()

    def at(self, stamp_ns: int, city_from_ego: np.ndarray) -> list[LabelledBox]:
        """The boxes of a moment in the city."""
        rows = np.flatnonzero(self.columns["timestamp_ns"] == stamp_ns)
        return [self._box(row, city_from_ego @ EGO_FROM_EGOVEHICLE @ self.egovehicle_from_box[row]) for row in rows]

    def unknown(self) -> dict[str, int]:
        """How many boxes have a class that Argoverse 2 does not list, by class."""
        kinds, counts = np.unique(self.columns["category"].astype(str), return_counts=True)
        return {
            kind: int(count)
            for kind, count in zip(kinds.tolist(), counts, strict=True)
            if kind not in CATEGORIES.keys() | OTHERS
        }

    def _box(self, row: int, city_from_box: np.ndarray) -> LabelledBox:
        columns = self.columns
        return LabelledBox(
            category(str(columns["category"][row])),
            city_from_box[:3, 3],
            np.array([columns[name][row] for name in SIZE]),
            yaw_of(city_from_box),
            int(columns["num_interior_pts"][row]),
            track=str(columns["track_uuid"][row]),
        )


def read_boxes(log: Path) -> Av2Boxes | None:
    """Labels of a log, None where it has none (the test split); raises DataError for what cannot be a box."""
    path = log / BOXES_FILE
    if not path.exists():
        return None
    columns = read_feather(path, ("timestamp_ns", "track_uuid", "category", *SIZE, *POSE, "num_interior_pts"))
    sizes = np.stack([columns[name] for name in SIZE], axis=1).astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(sizes) & (sizes > 0.0)).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{path}, row {wrong[0]}: the size {sizes[wrong[0]].tolist()} is no length, width and height above 0; "
            "restore the file"
        )
    return Av2Boxes(columns, _transforms(path, columns))


def _transforms(path: Path, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Transforms (N, 4, 4) of the rows of POSE; raises DataError naming the first that is none."""
    values = np.stack([columns[name] for name in POSE], axis=1).astype(np.float64)
    transforms = np.empty((len(values), 4, 4))
    for row, value in enumerate(values):
        try:
            transforms[row] = make_transform(value[:4], value[4:])
        except ValueError as error:
            raise DataError(f"{path}, row {row}: {error}; restore the file") from error
    if not np.isfinite(transforms).all():
        raise DataError(f"{path} has a translation that is not finite; restore the file")
    return transforms
