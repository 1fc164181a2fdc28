"""A frame for viewers with a pinhole, a fisheye and boxes of which one was missed and one is false."""

from dataclasses import replace

import numpy as np

from kd_perception.drawing.cameras import encode_image
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.recordings.viewed_frame import Fault, FaultKind, ViewedFrame, ViewedImage

STAMP_NS = 1_700_000_000_123_456_789


def boxes(*places: tuple[float, float, float], name: str = "car", score: float = 0.5) -> Boxes:
    """Boxes of one class at x, y with a yaw; each is longer than wide than high, and unlike the others."""
    count = len(places)
    return Boxes(
        center=np.array([(x, y, 0.8) for x, y, _ in places]).reshape(count, 3),
        size=np.array([(4.5 + i, 1.9, 1.6) for i in range(count)]).reshape(count, 3),
        yaw=np.array([yaw for _, _, yaw in places]),
        velocity=np.zeros((count, 2)),
        label=np.full(count, CLASSES.index(name)),
        score=np.full(count, score),
    )


def cameras() -> tuple[Camera, Camera]:
    """A pinhole that looks ahead, and a fisheye to the left."""
    ahead, left = ring_rig(4, 64, 48)[:2]
    wide = left.intrinsics * [[0.4, 1.0, 1.0], [1.0, 0.4, 1.0], [1.0, 1.0, 1.0]]
    fisheye = replace(
        left, name="left", intrinsics=wide, distortion_model="equidistant", distortion=(0.01, 0.0, 0.0, 0.0)
    )
    return replace(ahead, name="ahead"), fisheye


def viewed_frame(number: int = 0, wrong: int = 1) -> ViewedFrame:
    """Frame `number`, half a second after the one before; it holds so many wrong predictions."""
    truth = boxes((12.0, 1.0, 0.3), (-9.0, 5.0, -2.9))
    right, false = boxes((12.2, 1.1, 0.25)), boxes(*[(20.0 + i, -3.0, 1.2) for i in range(wrong)], score=0.3)
    faults = [Fault(FaultKind.MISSED, truth[1:], "car at x -9.0 m, y 5.0 m was missed: nobody looked")]
    faults += [Fault(FaultKind.FALSE, false[i : i + 1], f"false number {i}") for i in range(wrong)]
    picture = encode_image(np.full((48, 64, 3), 90, np.uint8))
    return ViewedFrame(
        title=f"frame {number}",
        stamp_ns=STAMP_NS + 500_000_000 * number,
        images=tuple(ViewedImage(camera, picture, STAMP_NS + 7_000_000) for camera in cameras()),
        map_from_ego=make_transform(quaternion_from_yaw(0.7), np.array([100.0, 50.0, 1.0])),
        cloud=np.array([(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]),
        ground_truth=truth,
        predictions=Boxes.concatenate([right, false]),
        faults=tuple(faults),
        heatmaps={"student": np.eye(4)[None].repeat(2, axis=0) * 0.5},
    )
