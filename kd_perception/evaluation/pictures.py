"""Pictures of evaluated samples: the rig's cameras and the bird's-eye view, detections over ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from kd_perception.atomic import write_bytes
from kd_perception.datasets.nuscenes import (
    CameraImage,
    Frame,
    ego_pose,
    ground_truth_boxes,
    load_frame,
    read_lidar,
    sensor_transform,
)
from kd_perception.drawing.bird_eye import draw_bev
from kd_perception.drawing.cameras import FONT, TALL_LAYOUT, camera_grid, draw_camera, encode_image
from kd_perception.drawing.style import BACKGROUND, DRAWN_SCORE, TEXT_COLOR
from kd_perception.errors import DataError
from kd_perception.evaluation.results import Results, boxes_of_result
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.transforms import apply, invert
from kd_perception.images.decoding import decode_image

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

CAMERA_WIDTH, BEV_SIZE = 640, 900  # pixels


@dataclass(frozen=True)
class SamplePicture:
    """A sample's camera pictures by name and its bird's-eye view (RGB uint8), and how many boxes are in them."""

    scene: str
    sample_token: str
    cameras: dict[str, np.ndarray]
    bev: np.ndarray
    detections: int
    ground_truths: int

    def grid(self) -> np.ndarray:
        """The cameras as the rig sees them: front in one row, back in the next."""
        return camera_grid(self.cameras)

    def overview(self) -> np.ndarray:
        """Everything in one picture: the cameras two by two, the bird's-eye view to their right."""
        cameras = camera_grid(self.cameras, TALL_LAYOUT)
        height = len(cameras)
        return np.hstack([cameras, cv2.resize(self.bev, (height, height), interpolation=cv2.INTER_AREA)])


def spread(tokens: Sequence[str], count: int) -> list[str]:
    """At most `count` tokens, evenly over the sequence."""
    middles = (np.arange(count) + 0.5) * len(tokens) / count
    return [tokens[i] for i in dict.fromkeys(int(middle) for middle in middles)]


@dataclass(frozen=True)
class Surroundings:
    """What a sample's pictures are drawn over: its frame; in ego the ground-truth boxes that have points, and the
    LiDARs' points (N, 3) or None."""

    frame: Frame
    ground_truth: Boxes
    cloud: np.ndarray | None


def load_surroundings(nusc: "Tables", sample_token: str, classes: ClassList = NUSCENES) -> Surroundings:
    """The surroundings of one sample; images are read when they are drawn."""
    frame = load_frame(nusc, sample_token)
    ground_truth = seen_ground_truth(nusc, sample_token, frame.global_from_ego, classes)
    return Surroundings(frame, ground_truth, points_in_ego(nusc, sample_token, frame.global_from_ego))


def seen_ground_truth(
    nusc: "Tables", sample_token: str, global_from_ego: np.ndarray, classes: ClassList = NUSCENES
) -> Boxes:
    """A sample's ground truth in ego: boxes that have points, as the metric counts them."""
    boxes, points = ground_truth_boxes(nusc, sample_token, global_from_ego, classes)
    return boxes[points != 0]


def draw_cameras(around: Surroundings, detections: Boxes) -> dict[str, np.ndarray]:
    """The cameras' pictures by name, `detections` (in ego) over ground truth.

    Raises DataError if an image file is missing or damaged.
    """
    return {
        image.camera.name: draw_camera(
            _decoded(image), image.camera, detections, ground_truth=around.ground_truth, width=CAMERA_WIDTH
        )
        for image in around.frame.images
    }


def _decoded(image: CameraImage) -> np.ndarray:
    """The image's pixels; of a masked camera a dark picture that says so."""
    encoded = image.read()
    if encoded is not None:
        return decode_image(encoded, str(image.path))
    dark = np.full(
        (round(image.camera.height * CAMERA_WIDTH / image.camera.width), CAMERA_WIDTH, 3), BACKGROUND, np.uint8
    )
    cv2.putText(dark, "no image", (CAMERA_WIDTH // 2 - 60, len(dark) // 2), FONT, 1.0, TEXT_COLOR, 1, cv2.LINE_AA)
    return dark


def draw_sample(around: Surroundings, detections: Boxes, drawn_score: float = DRAWN_SCORE) -> SamplePicture:
    """Draw one sample with the `detections` (in ego) from `drawn_score` on. Raises DataError as draw_cameras."""
    drawn = detections[detections.score >= drawn_score]
    return SamplePicture(
        scene=around.frame.scene,
        sample_token=around.frame.sample_token,
        cameras=draw_cameras(around, drawn),
        bev=draw_bev(drawn, ground_truth=around.ground_truth, points=around.cloud, size=BEV_SIZE),
        detections=len(drawn),
        ground_truths=len(around.ground_truth),
    )


def draw_samples(
    nusc: "Tables", results: Results, tokens: Sequence[str], classes: ClassList = NUSCENES
) -> list[SamplePicture]:
    """Pictures of a result file's samples."""
    pictures = []
    for token in tokens:
        around = load_surroundings(nusc, token, classes)
        boxes = boxes_of_result(results[token], around.frame.global_from_ego, classes)
        pictures.append(draw_sample(around, boxes))
    return pictures


def write_pictures(folder: Path, pictures: Sequence[SamplePicture]) -> None:
    """Each sample's overview as `<number>_<scene>.jpg` in `folder`."""
    for number, picture in enumerate(pictures):
        write_bytes(folder / f"{number:02d}_{picture.scene}.jpg", encode_image(picture.overview()))


def points_in_ego(nusc: "Tables", sample_token: str, global_from_ego: np.ndarray) -> np.ndarray | None:
    """The points of all LiDARs of a sample in ego at the anchor's time, or None where tables or files have none."""
    clouds = []
    for row in nusc.rig_of(sample_token).lidar_rows(nusc, sample_token):
        try:
            points = read_lidar(nusc, row)
        except DataError:
            continue
        ego_from_lidar = invert(global_from_ego) @ ego_pose(nusc, row) @ sensor_transform(nusc, row)
        clouds.append(apply(ego_from_lidar, points[:, :3]))
    return np.concatenate(clouds) if clouds else None
