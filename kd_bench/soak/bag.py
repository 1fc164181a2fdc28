"""The bag of `kd bench soak`: six large cameras and the LiDAR at 10 Hz, made from a few rendered moments.

Rendering at 1600x900 takes seconds a moment, and what a runtime has to carry does not depend on the story: the moments
come again and again, with stamps that advance and a robot that drives straight on.
"""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np

from kd_perception.bags import messages
from kd_perception.bags.messages import BAG
from kd_perception.bags.writer import BagWriter
from kd_perception.datasets.nuscenes import (
    load_frame,
    open_nuscenes,
    read_lidar,
    scene_names,
    scene_samples,
    sensor_transform,
)
from kd_perception.datasets.rigs import LIDAR
from kd_perception.errors import DataError
from kd_perception.geometry.transforms import make_transform

CAMERA_HZ = 10.0
FRAMES = 100  # that the bag holds
SPEED = 5.0  # m/s
START_NS = 1_700_000_000 * 10**9


def write_soak_bag(
    dataroot: Path, version: str, out: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Write the bag from a data set's first scene, image bytes untouched; raises DataError if a file is missing."""
    nusc = open_nuscenes(dataroot, version)
    tokens = scene_samples(nusc, scene_names(nusc)[0])
    frames = [load_frame(nusc, token) for token in tokens]
    lidar_rows = [row for token in tokens for row in nusc.rig_of(token).lidar_rows(nusc, token)[:1]]
    if len(lidar_rows) != len(tokens):
        raise DataError(f"{dataroot} has keyframes without a LiDAR; give another data set")
    clouds = [read_lidar(nusc, row) for row in lidar_rows]
    if masked := {name for frame in frames for name in frame.masked}:
        raise DataError(
            f"{dataroot} has keyframes without an image of {', '.join(sorted(masked))}; give another data set"
        )
    images = [[image.read() for image in frame.images] for frame in frames]
    cameras = [image.camera for image in frames[0].images]
    if not cameras:
        raise DataError(f"{dataroot} has no camera images; give another data set")
    mountings = [("base_link", camera.name, camera.ego_from_camera) for camera in cameras]
    mountings.append(("base_link", LIDAR, sensor_transform(nusc, lidar_rows[0])))
    moments = cycle(range(len(frames)))
    with BagWriter(out, overwrite=True) as bag:
        bag.write("/tf_static", messages.tf(START_NS, [("map", "odom", np.eye(4)), *mountings]), START_NS)
        for index in range(FRAMES):
            moment, elapsed = next(moments), index / CAMERA_HZ
            stamp_ns = START_NS + round(elapsed * 1e9)
            odom_from_base = make_transform(np.array([1.0, 0.0, 0.0, 0.0]), [SPEED * elapsed, 0.0, 0.0])
            row = [
                ("/tf", messages.tf(stamp_ns, [("odom", "base_link", odom_from_base)])),
                ("/odom", messages.odometry(stamp_ns, odom_from_base, np.array([SPEED, 0.0, 0.0]), np.zeros(3))),
            ]
            for camera, data in zip(cameras, images[moment], strict=True):
                row.append((f"/{camera.name}/camera_info", BAG.camera_info(camera, camera.name, stamp_ns)))
                image = BAG.compressed_image(stamp_ns, camera.name, data, "jpeg")
                row.append((f"/{camera.name}/image/compressed", image))
            row.append((f"/{LIDAR}/points", messages.point_cloud(stamp_ns, LIDAR, clouds[moment])))
            for offset, (topic, message) in enumerate(row):  # strictly rising: players sort by time
                bag.write(topic, message, stamp_ns + offset)
            progress(index + 1, FRAMES)
