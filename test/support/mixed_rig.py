"""A bag of a moving robot whose cameras differ in lens, and whose images change their encoding from frame to frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from kd_perception.bags.messages import BAG, tf
from kd_perception.bags.writer import BagWriter
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.transforms import make_transform
from support.fake_student import paint

S, T0 = 1_000_000_000, 1_700_000_000 * 1_000_000_000
PERIOD_NS = 200_000_000
TF_LATE_NS = 30_000_000  # as on robots: the pose is computed after the images were exposed
WIDTH, HEIGHT, PADDING = 704, 256, 12
DISTANCE = 10.0  # metres from the robot: the car in front of each camera
LENSES = (
    ("none", ()),
    ("plumb_bob", (-0.15, 0.03, 0.001, -0.0005, 0.0)),
    ("rational_polynomial", (0.2, -0.1, 0.0004, -0.0002, 0.01, 0.45, -0.08, 0.015)),
    ("equidistant", (-0.02, 0.004, -0.001, 0.0002)),
    ("none", ()),  # of rectified images: what their CameraInfo says of the lens is undone already
)
RECTIFIED = 4
COLOURLESS = ("mono8", "jpeg grey", "png grey")

Encode = Callable[[np.ndarray], bytes]


@dataclass(frozen=True)
class MixedBag:
    """Where it is; cameras as they are; per frame: its stamp, and the cars (x, y) that coloured images show."""

    path: Path
    cameras: tuple[Camera, ...]
    stamps_ns: tuple[int, ...]
    cars: tuple[tuple[tuple[float, float], ...], ...]


def _raw(order: Sequence[int]) -> Encode:
    return lambda rgb: np.pad(rgb[..., list(order)].reshape(HEIGHT, -1), ((0, 0), (0, PADDING))).tobytes()


def _opaque(rgb: np.ndarray) -> np.ndarray:
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])


def _file(suffix: str, code: int = cv2.COLOR_RGB2BGR, flags: Sequence[int] = ()) -> Encode:
    return lambda rgb: cv2.imencode(suffix, cv2.cvtColor(rgb, code), list(flags))[1].tobytes()


_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 97)
_GREY = cv2.COLOR_RGB2GRAY
RAW: dict[str, Encode] = {
    "rgb8": _raw((0, 1, 2)),
    "bgr8": _raw((2, 1, 0)),
    "rgba8": lambda rgb: _raw((0, 1, 2, 3))(_opaque(rgb)),
    "bgra8": lambda rgb: _raw((2, 1, 0, 3))(_opaque(rgb)),
    "mono8": lambda rgb: _raw((0,))(cv2.cvtColor(rgb, _GREY)[..., None]),
}
COMPRESSED: dict[str, Encode] = {
    "jpeg 444": _file(
        ".jpg", flags=(*_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    ),
    "jpeg 420": _file(
        ".jpg", flags=(*_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    ),
    "jpeg progressive": _file(".jpg", flags=(*_QUALITY, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    "jpeg grey": _file(".jpg", _GREY, _QUALITY),
    "png": _file(".png"),
    "png alpha": _file(".png", cv2.COLOR_RGB2BGRA),
    "png grey": _file(".png", _GREY),
}


def mixed_cameras() -> tuple[Camera, ...]:
    """Five cameras around the robot, a lens each."""
    ring = ring_rig(len(LENSES), WIDTH, HEIGHT, np.radians(90.0))
    return tuple(
        replace(camera, name=f"cam{index}", distortion_model=model, distortion=values)
        for index, (camera, (model, values)) in enumerate(zip(ring, LENSES, strict=True))
    )


def write_mixed_bag(path: Path, transport: str) -> MixedBag:
    """As many frames as there are encodings of a transport: every camera has an image in each of them."""
    encodings = RAW if transport == "raw" else COMPRESSED
    names, cameras = list(encodings), mixed_cameras()
    stamps = tuple(T0 + frame * PERIOD_NS for frame in range(len(names)))
    cars = []
    with BagWriter(path) as bag:
        static = [("base_link", camera.name, camera.ego_from_camera) for camera in cameras]
        bag.write("/tf_static", tf(T0 - S, static), T0 - S)
        bag.write("/tf", _pose(T0 - S), T0 - S)
        for frame, stamp_ns in enumerate(stamps):
            shown = []
            for index, camera in enumerate(cameras):
                name = names[(index + frame) % len(names)]
                at_ns = stamp_ns + index * 1_000_000  # cameras fire one after the other
                angle = 2.0 * np.pi * index / len(cameras) + 0.02 * frame
                car = (DISTANCE * np.cos(angle), DISTANCE * np.sin(angle))
                image = _picture(camera, car, frame)
                if name not in COLOURLESS:
                    shown.append(car)
                topic = f"/robot/{camera.name}/image_{'rect' if index == RECTIFIED else 'raw'}"
                message = _image(name, encodings[name](image), at_ns, camera.name)
                bag.write(topic if transport == "raw" else f"{topic}/compressed", message, at_ns + 5_000_000)
                bag.write(f"/robot/{camera.name}/camera_info", _info(camera, index, at_ns), at_ns + 5_000_001)
            bag.write("/tf", _pose(stamp_ns), stamp_ns + TF_LATE_NS)
            cars.append(tuple(shown))
        last_ns = stamps[-1] + PERIOD_NS
        bag.write("/tf", _pose(last_ns), last_ns)
    return MixedBag(path, cameras, stamps, tuple(cars))


def _picture(camera: Camera, car: tuple[float, float], frame: int) -> np.ndarray:
    """Colour waves that stay below what the student takes for an object, and a car."""
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH] / HEIGHT
    waves = np.stack([np.sin(9 * u + frame), np.cos(7 * v - 3 * u), np.sin(5 * (u + v))], axis=-1)
    image = np.round(50 + 40 * waves).astype(np.uint8)
    assert paint([image], [camera], car, "car") == 1
    return image


def _image(name: str, data: bytes, stamp_ns: int, frame_id: str) -> object:
    if name in COMPRESSED:
        return BAG.compressed_image(stamp_ns, frame_id, data, name.split()[0])
    step = len(data) // HEIGHT
    head, pixels = BAG.header(stamp_ns, frame_id), np.frombuffer(data, np.uint8)
    size = {"height": HEIGHT, "width": WIDTH, "step": step}
    return BAG.make("sensor_msgs/msg/Image", header=head, encoding=name, data=pixels, **size)


def _info(camera: Camera, index: int, stamp_ns: int) -> object:
    info = BAG.camera_info(camera, camera.name, stamp_ns)
    if index == RECTIFIED:
        info.p = info.p.copy()
        info.k, info.d = info.k * np.array([0.9, 1, 1, 1, 0.9, 1, 1, 1, 1]), np.array(LENSES[1][1])
    return info


def _pose(stamp_ns: int) -> object:
    metres = 4.0 * (stamp_ns - T0) / S
    return tf(stamp_ns, [("odom", "base_link", make_transform(np.eye(3), np.array([metres, 0.0, 0.0])))])
