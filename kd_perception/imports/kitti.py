"""KITTI's object benchmark as a nuScenes-format data set: one scene a frame, links to the original files.

KITTI shuffles its frames and calibrates each of them, so that no frame has a neighbour: each is a scene of its own,
with its own rig, an invented time stamp and the identity for its pose. Regions that nobody labelled (DontCare) have no
place in 3D; they become rows of `ignored_region.json`, a table of our own: pixels of a sample_data row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kd_perception.datasets.clouds import KITTI_COLUMNS, read_cloud
from kd_perception.datasets.kitti_labels import (
    DONT_CARE,
    SCENE_PREFIX,
    KittiCalibration,
    KittiObject,
    boxes_in_ego,
    read_calibration,
    read_labels,
)
from kd_perception.datasets.versions import KITTI_VERSION
from kd_perception.datasets.written_tables import (
    LabelledBox,
    MountedLidar,
    SensorFile,
    WrittenKeyframe,
    WrittenTables,
    table_token,
)
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.box_geometry import count_points_in_boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply
from kd_perception.imports.written import picture_size, place_file

CAMERAS = (2, 3)  # the colour cameras of the benchmark; boxes in pictures are camera 2's
LIDAR = "velodyne"
CATEGORIES = {"Car": "vehicle.car", "Truck": "vehicle.truck", "Pedestrian": "human.pedestrian.adult"}
VISIBILITY_OF_OCCLUSION = {0: "4", 1: "2", 2: "1"}  # fully visible, partly and largely occluded; 3 is unknown
FIRST_US = 1_317_000_000_000_000  # the recordings are of autumn 2011
SPACING_US = 10_000_000


@dataclass(frozen=True)
class KittiFrame:
    """One frame's files below `folder`, which holds image_2, velodyne, calib and perhaps image_3 and label_2."""

    folder: Path
    name: str

    def file(self, kind: str) -> Path:
        """Where the frame's file of a kind lies; it may be absent."""
        suffix = {"velodyne": ".bin", "calib": ".txt", "label_2": ".txt"}.get(kind, ".png")
        return self.folder / kind / f"{self.name}{suffix}"

    @cached_property
    def calibration(self) -> KittiCalibration:
        """The frame's own calibration."""
        return read_calibration(self.file("calib"))

    @cached_property
    def objects(self) -> list[KittiObject]:
        """What is labelled; nothing where the data set has no labels."""
        return read_labels(self.file("label_2")) if (self.folder / "label_2").is_dir() else []

    def cameras(self) -> list[Camera]:
        """The cameras whose pictures are there."""
        return [
            self.calibration.camera(number, *picture_size(self.file(f"image_{number}")))
            for number in CAMERAS
            if self.file(f"image_{number}").is_file() and number in self.calibration.projections
        ]

    def points(self) -> np.ndarray | None:
        """The cloud (N, 3) in ego; None without one."""
        path = self.file(LIDAR)
        return apply(self.calibration.ego_from_velo, read_cloud(path, KITTI_COLUMNS)[:, :3]) if path.is_file() else None


def import_kitti(
    source: Path, out: Path, *, names: Sequence[str] = (), copy: bool = False, progress: Callable | None = None
) -> int:
    """Write the data set KITTI_VERSION into `out`, of the frames `names` or of all; returns their number.

    `source` is the folder that holds image_2, or the one above `training`. Files are linked, or copied. `progress` is
    called with done and total. Raises DataError for what is missing or damaged, before any table is written.
    """
    folder = _frames_folder(source)
    frames = [KittiFrame(folder, name) for name in (names or _all_names(folder))]
    _check(frames, out)
    tables, ignored = WrittenTables("KITTI"), []
    for index, frame in enumerate(frames):
        stamp_us = FIRST_US + index * SPACING_US
        scene = SCENE_PREFIX + frame.name
        sensors = [*frame.cameras()]
        if frame.file(LIDAR).is_file():
            sensors.append(MountedLidar(LIDAR, frame.calibration.ego_from_velo, KITTI_COLUMNS))
        files = [_sensor_file(frame, sensor, out, stamp_us=stamp_us, copy=copy) for sensor in sensors]
        tables.add_scene(scene, [WrittenKeyframe(stamp_us, files, _boxes(frame))])
        ignored += _ignored_regions(frame, scene, stamp_us)
        if progress is not None:
            progress(index + 1, len(frames))
    tables.write(out, KITTI_VERSION, {"ignored_region": ignored})
    return len(frames)


def category(kind: str) -> str:
    """The category of a KITTI type: nuScenes' where both mean the same, else `kitti.` and the type."""
    return CATEGORIES.get(kind, f"kitti.{kind}")


def _boxes(frame: KittiFrame) -> list[LabelledBox]:
    objects = [entry for entry in frame.objects if entry.kind != DONT_CARE]
    boxes, points = boxes_in_ego(objects, frame.calibration), frame.points()
    counts = [None] * len(boxes)
    if points is not None:
        counts = [int(count) for count in count_points_in_boxes(points, boxes.center, boxes.size, boxes.yaw)]
    return [
        LabelledBox(
            category(entry.kind),
            boxes.center[index],
            boxes.size[index],
            float(boxes.yaw[index]),
            counts[index],
            visibility=VISIBILITY_OF_OCCLUSION.get(entry.occluded, ""),
            extra={
                "truncated": entry.truncated,
                "occluded": entry.occluded,
                "alpha": entry.alpha,
                "image_box": entry.box.tolist(),
            },
        )
        for index, entry in enumerate(objects)
    ]


def _ignored_regions(frame: KittiFrame, scene: str, stamp_us: int) -> list[dict]:
    """Rows of the table of DontCare regions: left, top, right, bottom in pixels of a camera's picture."""
    sample_data = table_token(scene, f"image_{CAMERAS[0]}", stamp_us)
    regions = [entry for entry in frame.objects if entry.kind == DONT_CARE]
    return [
        {
            "token": table_token(scene, "ignored", index),
            "sample_data_token": sample_data,
            "image_box": entry.box.tolist(),
        }
        for index, entry in enumerate(regions)
    ]


def _sensor_file(
    frame: KittiFrame, sensor: Camera | MountedLidar, out: Path, *, stamp_us: int, copy: bool
) -> SensorFile:
    source = frame.file(sensor.name)
    filename = f"samples/{sensor.name}/{source.name}"
    place_file(source, out / filename, copy=copy)
    return SensorFile(sensor, filename, stamp_us, np.eye(4))


def _frames_folder(source: Path) -> Path:
    for folder in (source, source / "training"):
        if (folder / "image_2").is_dir():
            return folder
    raise DataError(
        f"{source} is no KITTI object data set: it has neither image_2/ nor training/image_2/; give the folder that "
        "holds training/ (or testing/ itself)"
    )


def _all_names(folder: Path) -> list[str]:
    names = sorted(path.stem for path in (folder / "image_2").glob("*.png"))
    if not names:
        raise DataError(f"{folder / 'image_2'} has no .png picture; restore the pictures")
    return names


def _check(frames: Sequence[KittiFrame], out: Path) -> None:
    """Raise if a file that every frame needs is absent, or if `out` is not a place of its own."""
    folder = frames[0].folder
    if out.resolve() == folder.resolve() or out.resolve() in folder.resolve().parents:
        raise ConfigError(f"{out} holds the original files; choose another folder for --out")
    kinds = ["image_2", "calib", *(kind for kind in ("velodyne", "label_2") if (folder / kind).is_dir())]
    missing = [frame.file(kind) for frame in frames for kind in kinds if not frame.file(kind).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} files are missing in {folder}, the first is {missing[0]}; restore them, or name the "
            "frames that are whole with --frames"
        )
