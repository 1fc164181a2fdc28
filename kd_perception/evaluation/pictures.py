"""Pictures of evaluated samples: the rig's cameras and the bird's-eye view, detections over truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.atomic import write_bytes
from kd_perception.boxes import Boxes
from kd_perception.drawing import camera_grid, decode_image, draw_bev, draw_camera, encode_image
from kd_perception.errors import DataError
from kd_perception.evaluation.results import Results, boxes_of_result
from kd_perception.nuscenes import LIDAR, ego_pose, load_frame, read_lidar, sensor_transform, truth_boxes
from kd_perception.transforms import apply, invert

if TYPE_CHECKING:
    from nuscenes import NuScenes

DRAWN_SCORE = 0.25  # detections below are scored by the metric but would only clutter a picture
CAMERA_WIDTH = 640  # pixels


@dataclass(frozen=True)
class SamplePicture:
    """A sample's camera grid and bird's-eye view (RGB uint8) and what is in them."""

    scene: str
    sample_token: str
    cameras: np.ndarray
    bev: np.ndarray
    detections: int
    truths: int


def spread(tokens: Sequence[str], count: int) -> list[str]:
    """At most `count` tokens, evenly over the sequence."""
    middles = (np.arange(count) + 0.5) * len(tokens) / count
    return [tokens[i] for i in dict.fromkeys(int(middle) for middle in middles)]


def draw_sample(
    nusc: "NuScenes", sample_token: str, detections: Boxes, drawn_score: float = DRAWN_SCORE
) -> SamplePicture:
    """Draw one sample; `detections` in ego. Truth: boxes with points, as the metric counts them. Points if there.

    Raises DataError if an image file is missing or damaged.
    """
    frame = load_frame(nusc, sample_token)
    truth, points = truth_boxes(nusc, sample_token, frame.global_from_ego)
    truth, drawn = truth[points > 0], detections[detections.score >= drawn_score]
    cameras = {}
    for image in frame.images:
        if not image.path.is_file():
            raise DataError(f"image {image.path} is missing; restore it")
        cameras[image.camera.name] = draw_camera(
            decode_image(image.path.read_bytes(), str(image.path)), image.camera, drawn, truth, CAMERA_WIDTH
        )
    return SamplePicture(
        scene=frame.scene,
        sample_token=sample_token,
        cameras=camera_grid(cameras),
        bev=draw_bev(
            drawn,
            truth,
            _points_in_ego(nusc, sample_token, frame.global_from_ego),
            size=max(720, 2 * next(iter(cameras.values())).shape[0]),
        ),
        detections=len(drawn),
        truths=len(truth),
    )


def draw_samples(nusc: "NuScenes", results: Results, tokens: Sequence[str]) -> list[SamplePicture]:
    """Pictures of a result file's samples."""
    return [
        draw_sample(nusc, token, boxes_of_result(results[token], load_frame(nusc, token).global_from_ego))
        for token in tokens
    ]


def write_pictures(folder: Path, pictures: Sequence[SamplePicture]) -> None:
    """`<n>_<scene>_cameras.jpg` and `<n>_<scene>_bev.png` in `folder`."""
    for number, picture in enumerate(pictures):
        write_bytes(folder / f"{number:02d}_{picture.scene}_cameras.jpg", encode_image(picture.cameras))
        write_bytes(folder / f"{number:02d}_{picture.scene}_bev.png", encode_image(picture.bev, ".png"))


def _points_in_ego(nusc: "NuScenes", sample_token: str, global_from_ego: np.ndarray) -> np.ndarray | None:
    """The sample's LiDAR points in ego at the anchor's time, or None where tables or files have none."""
    data = nusc.get("sample", sample_token)["data"]
    if LIDAR not in data:
        return None
    row = nusc.get("sample_data", data[LIDAR])
    try:
        points = read_lidar(nusc, row)
    except DataError:
        return None
    return apply(invert(global_from_ego) @ ego_pose(nusc, row) @ sensor_transform(nusc, row), points[:, :3])
