"""Detections of an imported KITTI data set as KITTI's result files, for its metric here and for its server."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.atomic import write_text
from kd_perception.datasets.kitti_labels import (
    KINDS,
    SCENE_PREFIX,
    KittiCalibration,
    KittiObject,
    place_in_rect,
    read_calibration,
)
from kd_perception.datasets.nuscenes import load_frame, scene_samples
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.kitti_ap import KittiScore
from kd_perception.evaluation.kitti_files import score_folders
from kd_perception.evaluation.kitti_overlap import KittiColumns
from kd_perception.evaluation.results import Results, boxes_of_result
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.transforms import wrap_angle

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

CAMERA = 2  # whose pictures the benchmark's boxes lie in
NEAR = 0.1  # metres; what is nearer to the camera's plane, or behind it, is cut off
FACE = np.arange(4)
EDGES = np.concatenate(  # of corners 0-3 of the bottom face and 4-7 above them
    [np.stack([FACE, np.roll(FACE, -1)], 1), np.stack([FACE, np.roll(FACE, -1)], 1) + 4, np.stack([FACE, FACE + 4], 1)]
)
KIND_OF_NAME = {kind.lower(): kind for kind in KINDS}


@dataclass(frozen=True)
class KittiFolder:
    """KITTI's folder of calib and, unless it is a test set, label_2; `frames` are its frames by sample token."""

    folder: Path
    frames: Mapping[str, str]

    @staticmethod
    def of(source: Path, nusc: "Tables", scenes: Sequence[str], classes: ClassList) -> "KittiFolder":
        """The folder that a data set was imported from: `source` or `source`/training.

        Raises ConfigError for scenes that are no KITTI frames and for classes of which KITTI knows none, DataError for
        files that are missing.
        """
        folder = next((place for place in (source, source / "training") if (place / "calib").is_dir()), None)
        if folder is None:
            raise DataError(f"{source} has neither calib/ nor training/calib/; give the folder of kd import kitti")
        foreign = [scene for scene in scenes if not scene.startswith(SCENE_PREFIX)]
        if foreign:
            raise ConfigError(
                f"scene '{foreign[0]}' is no frame of kd import kitti; leave --kitti out for this data set"
            )
        if not any(name.lower() in KIND_OF_NAME for name in classes.names):
            raise ConfigError(f"none of {', '.join(classes.names)} is a class of KITTI: {', '.join(KINDS)}")
        frames = {scene_samples(nusc, scene)[0]: scene.removeprefix(SCENE_PREFIX) for scene in scenes}
        for kind in ("calib", "label_2"):
            missing = [name for name in frames.values() if not (folder / kind / f"{name}.txt").is_file()]
            if missing and (folder / kind).is_dir():
                raise DataError(f"{folder / kind} has no {missing[0]}.txt; restore it, or name other scenes")
        return KittiFolder(folder, frames)

    def write(self, out: Path, nusc: "Tables", results: Results, classes: ClassList) -> None:
        """Write one result file a frame into `out`, in place of all that it held; see `result_rows`."""
        for old in out.glob("*.txt"):
            old.unlink()
        for token, name in self.frames.items():
            frame = load_frame(nusc, token)
            (camera,) = [image.camera for image in frame.images if image.camera.name == f"image_{CAMERA}"]
            boxes = boxes_of_result(results[token], frame.global_from_ego, classes)
            calibration = read_calibration(self.folder / "calib" / f"{name}.txt")
            rows = result_rows(boxes, calibration, (camera.width, camera.height))
            write_text(out / f"{name}.txt", "".join(f"{row.row()}\n" for row in rows))

    def score(self, out: Path) -> list[KittiScore]:
        """AP of the files that `write` left in `out`; nothing without label_2."""
        labels = self.folder / "label_2"
        return score_folders(labels, out, list(self.frames.values())) if labels.is_dir() else []


def result_rows(boxes: Boxes, calibration: KittiCalibration, image_size: tuple[int, int]) -> list[KittiObject]:
    """Boxes in ego as rows of a result file, with their boxes in the picture (width, height) of camera 2.

    A box in the picture bounds the projected corners and ends at the picture's border. Boxes of which the picture shows
    nothing are left out, and those of classes that KITTI lacks; upper and lower case count as equal.
    """
    known = np.array([name.lower() in KIND_OF_NAME for name in boxes.classes.names], dtype=bool)
    boxes = boxes[known[boxes.label]]
    sizes, locations, turns = place_in_rect(boxes, calibration)
    alphas = wrap_angle(turns - np.arctan2(locations[:, 0], locations[:, 2]))
    rows = [
        KittiObject(
            KIND_OF_NAME[boxes.class_of(index).name.lower()],
            truncated=-1.0,
            occluded=-1,
            alpha=float(alphas[index]),
            box=np.zeros(4),
            size=sizes[index],
            location=locations[index],
            rotation_y=float(turns[index]),
            score=float(boxes.score[index]),
        )
        for index in range(len(boxes))
    ]
    return list(_seen(rows, calibration.projections[CAMERA], np.array(image_size) - 1.0))


def _seen(rows: Sequence[KittiObject], projection: np.ndarray, last_pixel: np.ndarray) -> Iterator[KittiObject]:
    """Each row with its box in the picture, unless the picture shows nothing of it."""
    for row, outline in zip(rows, KittiColumns.of(rows).footprints(), strict=True):
        bottom = np.insert(outline, 1, row.location[1], axis=1)
        points = _in_front(np.concatenate([bottom, bottom - [0.0, row.size[0], 0.0]]))
        if not len(points):
            continue
        pixels = points @ projection[:, :3].T + projection[:, 3]
        pixels = pixels[:, :2] / pixels[:, 2:]
        box = np.concatenate([pixels.min(axis=0).clip(min=0.0), np.minimum(pixels.max(axis=0), last_pixel)])
        if (box[2:] > box[:2]).all():
            yield replace(row, box=box)


def _in_front(corners: np.ndarray) -> np.ndarray:
    """Corners (8, 3) with z of NEAR or more, and the points where edges cross that plane."""
    begin, end = corners[EDGES[:, 0]], corners[EDGES[:, 1]]
    crossing = (begin[:, 2] < NEAR) != (end[:, 2] < NEAR)
    begin, end = begin[crossing], end[crossing]
    share = (NEAR - begin[:, 2:]) / (end[:, 2:] - begin[:, 2:])
    return np.concatenate([corners[corners[:, 2] >= NEAR], begin + share * (end - begin)])
