"""The tables of one T4 data set: nuScenes' schema with a few fields of its own, in annotation/ instead of a version.

Written after the format's public description (tier4_perception_dataset and t4-devkit). Calibration is in base_link,
pixel centres are on integers; K may come with OpenCV's coefficients of the lens.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kd_perception.datasets.checks import check_tables
from kd_perception.datasets.clouds import NUSCENES_COLUMNS
from kd_perception.datasets.written_tables import LabelledBox, MountedLidar
from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import make_transform, yaw_of
from kd_perception.imports.t4_names import ATTRIBUTES, VISIBILITY, category

ANNOTATION = "annotation"
TABLES = (
    "attribute", "calibrated_sensor", "category", "ego_pose", "instance", "sample", "sample_annotation",
    "sample_data", "scene", "sensor", "visibility",
)  # fmt: skip
COLUMNS = ("x", "y", "z", "intensity", "ring_idx")  # float32; the fifth is always -1, so it is no ring
KEPT_FIELDS = ("automatic_annotation", "autolabel_metadata")  # of annotations
LENSES = {5: "plumb_bob", 8: "rational_polynomial"}


def find_data_sets(source: Path) -> list[Path]:
    """The folder itself if it is a T4 data set, else those that it holds; raises DataError if there is none.

    A data set may lie in a numbered folder, its version; the highest one counts.
    """
    for candidates in ([source], sorted(source.iterdir()) if source.is_dir() else []):
        if found := [root for path in candidates if (root := _root(path)) is not None]:
            return found
    raise DataError(
        f"{source} is no T4 data set and holds none: one has {ANNOTATION}/ and data/, maybe below the number of its "
        "version; give such a folder, or one that holds several"
    )


def _root(path: Path) -> Path | None:
    numbered = [entry for entry in path.iterdir() if entry.name.isdecimal()] if path.is_dir() else []
    candidates = [path, *sorted(numbered, key=lambda entry: -int(entry.name))]
    return next((root for root in candidates if (root / ANNOTATION).is_dir()), None)


@dataclass(frozen=True, eq=False)
class T4Tables:
    """Rows of TABLES by name."""

    root: Path
    rows: dict[str, list[dict]]

    @staticmethod
    def read(root: Path) -> "T4Tables":
        """Raises DataError naming the table, and the row, that cannot be used."""
        folder = root / ANNOTATION
        rows = {name: _rows(folder / f"{name}.json") for name in TABLES}
        check_tables(rows, {}, folder)  # every row is in doubt
        return T4Tables(root, rows)

    @property
    def name(self) -> str:
        """The data set's: its folder's, that of the version above left out."""
        root = self.root.resolve()
        return root.parent.name if root.name.isdecimal() else root.name

    @cached_property
    def by_token(self) -> dict[str, dict[str, dict]]:
        """Rows by table and token."""
        return {name: {row["token"]: row for row in rows} for name, rows in self.rows.items()}

    def samples(self, scene: dict) -> list[dict]:
        """A scene's samples, oldest first."""
        return sorted(
            (row for row in self.rows["sample"] if row["scene_token"] == scene["token"]),
            key=lambda row: row["timestamp"],
        )

    def modality(self, sample_data: dict) -> str:
        """Camera, lidar or radar."""
        return self._sensor(sample_data)["modality"]

    def channel(self, sample_data: dict) -> str:
        """The sensor's name."""
        return self._sensor(sample_data)["channel"]

    def _sensor(self, sample_data: dict) -> dict:
        calibrated = self.by_token["calibrated_sensor"][sample_data["calibrated_sensor_token"]]
        return self.by_token["sensor"][calibrated["sensor_token"]]

    def pose(self, sample_data: dict) -> np.ndarray:
        """`global_from_ego` (4, 4) at a measurement."""
        return _transform(self.by_token["ego_pose"][sample_data["ego_pose_token"]])

    def sensor(self, row: dict) -> Camera | MountedLidar:
        """The camera or LiDAR of a sample_data row; raises DataError for calibration that cannot be used."""
        calibrated = self.by_token["calibrated_sensor"][row["calibrated_sensor_token"]]
        name, mounting = self.channel(row), _transform(calibrated)
        if self.modality(row) == "lidar":
            return MountedLidar(name, mounting, self._columns(row))
        try:
            model, coefficients = lens(calibrated.get("camera_distortion") or ())
            return Camera.from_integer_centred(
                name,
                np.array(calibrated["camera_intrinsic"], np.float64),
                mounting,
                width=row["width"],
                height=row["height"],
                distortion_model=model,
                distortion=coefficients,
            )
        except CalibrationError as error:
            path = self.root / ANNOTATION / "calibrated_sensor.json"
            raise DataError(f"{path}, row '{calibrated['token']}' of {name}: {error}") from error

    def boxes(self, sample: dict) -> list[LabelledBox]:
        """The annotations of a sample."""
        return [self._box(row) for row in self._annotations.get(sample["token"], ())]

    @cached_property
    def _annotations(self) -> dict[str, list[dict]]:
        found: dict[str, list[dict]] = {}
        for row in self.rows["sample_annotation"]:
            found.setdefault(row["sample_token"], []).append(row)
        return found

    def _box(self, row: dict) -> LabelledBox:
        width, length, height = row["size"]
        instance = self.by_token["instance"][row["instance_token"]]
        level = self.by_token["visibility"].get(row.get("visibility_token") or "", {}).get("level", "")
        names = [self.by_token["attribute"][token]["name"] for token in row.get("attribute_tokens", ())]
        known = dict.fromkeys(ATTRIBUTES[name] for name in names if name in ATTRIBUTES)
        extra = {key: row[key] for key in KEPT_FIELDS if row.get(key)} | ({"t4_attributes": names} if names else {})
        return LabelledBox(
            category(self.by_token["category"][instance["category_token"]]["name"]),
            np.array(row["translation"], np.float64),
            np.array([length, width, height], np.float64),
            yaw_of(_transform(row)),
            row.get("num_lidar_pts"),
            track=row["instance_token"],
            visibility=VISIBILITY.get(level, ""),
            attributes=tuple(known),
            extra=extra,
        )

    def _columns(self, row: dict) -> tuple[str, ...]:
        """Columns of a cloud's file: five, or as many as its info file says."""
        if row["filename"].endswith(".pcd"):
            return NUSCENES_COLUMNS  # such a file names its own
        info = row.get("info_filename")
        if not info or not (self.root / info).is_file():
            return COLUMNS
        try:
            count = json.loads((self.root / info).read_text()).get("num_pts_feats", len(COLUMNS))
        except (ValueError, AttributeError) as error:
            raise DataError(f"{self.root / info} is no JSON object ({error}); restore it") from error
        if isinstance(count, bool) or not isinstance(count, int) or not 3 <= count <= 64:
            raise DataError(
                f"{self.root / info}: num_pts_feats is {count!r}, which is no number of columns; restore it"
            )
        return (*COLUMNS, *(f"feature_{index}" for index in range(len(COLUMNS), count)))[:count]


def lens(coefficients: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Model and coefficients of a camera_distortion: k1, k2, p1, p2, k3 ... as OpenCV orders them.

    Raises CalibrationError for what no lens here has: thin prisms and tilted sensors (s1 to s4, tau).
    """
    given = [float(value) for value in coefficients]
    while given and given[-1] == 0.0:
        given.pop()
    if not given:
        return "none", ()
    count = next((count for count in LENSES if count >= len(given)), None)
    if count is None:
        raise CalibrationError(
            f"camera_distortion has {len(given)} coefficients other than 0, at most {max(LENSES)} are supported: "
            "rectify the pictures, or calibrate without thin prism and tilt"
        )
    return LENSES[count], (*given, *[0.0] * (count - len(given)))


def _rows(path: Path) -> list[dict]:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"table {path} cannot be read ({error.strerror}); restore it") from error
    except ValueError as error:
        raise DataError(f"table {path} is no JSON ({error}); restore it") from error


def _transform(row: dict) -> np.ndarray:
    return make_transform(np.asarray(row["rotation"], np.float64), np.asarray(row["translation"], np.float64))
