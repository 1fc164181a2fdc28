"""A small log in the folders and feather files of Argoverse 2, of support.small_log's drive."""

import cv2
import numpy as np
from transforms3d.quaternions import mat2quat

from support.small_log import (
    CARS,
    EXPOSED_US,
    HEIGHT,
    POINTS,
    START_US,
    STEP_US,
    SWEEPS,
    WIDTH,
    K,
    cloud,
    global_from_ego,
    mounting,
    picture,
    turned,
)

LOG = "0a1b2c3d-drive"
YAWS = {
    "ring_front_center": 0.0,
    "ring_front_right": -0.8,
    "ring_side_right": -1.7,
    "ring_rear_right": -2.6,
    "ring_rear_left": 2.6,
    "ring_side_left": 1.7,
    "ring_front_left": 0.8,
    "stereo_front_left": 0.02,
    "stereo_front_right": -0.02,
}
AXLE = np.array([0.0, 0.0, 0.33])  # from ego on the road to the egovehicle frame's origin
POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")


def write_av2_log(folder, *, labels=True):
    """Write a log below `folder`, and return its own folder."""
    log = folder / LOG
    mountings = {name: raised(mounting(yaw)) for name, yaw in YAWS.items()}
    lidars = {name: raised(np.eye(4)) for name in ("up_lidar", "down_lidar")}
    write(
        log / "calibration" / "egovehicle_SE3_sensor.feather",
        {"sensor_name": [*mountings, *lidars], **poses([*mountings.values(), *lidars.values()])},
    )
    numbers = {"fx_px": K[0, 0], "fy_px": K[1, 1], "cx_px": K[0, 2], "cy_px": K[1, 2]}
    numbers |= {"k1": -0.25, "k2": -0.1, "k3": 0.2, "height_px": HEIGHT, "width_px": WIDTH}
    write(
        log / "calibration" / "intrinsics.feather",
        {"sensor_name": list(YAWS), **{key: [value] * len(YAWS) for key, value in numbers.items()}},
    )
    sweeps = [START_US + index * STEP_US for index in range(SWEEPS)]
    stamps = sorted({*sweeps, *(stamp + EXPOSED_US for stamp in sweeps)})
    vehicle = [global_from_ego(seconds(stamp)) @ shifted(AXLE) for stamp in stamps]
    write(log / "city_SE3_egovehicle.feather", {"timestamp_ns": [1000 * stamp for stamp in stamps], **poses(vehicle)})
    for stamp in sweeps:
        write_cloud(log / "sensors" / "lidar" / f"{1000 * stamp}.feather", cloud(seconds(stamp)) - AXLE)
        for name, yaw in YAWS.items():
            path = log / "sensors" / "cameras" / name / f"{1000 * (stamp + EXPOSED_US)}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture(mounting(yaw), seconds(stamp + EXPOSED_US)), [cv2.IMWRITE_JPEG_QUALITY, 98])
    if labels:
        write(log / "annotations.feather", boxes(sweeps))
    return log


def boxes(sweeps):
    """Columns of the labels."""
    columns = {key: [] for key in ("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m")}
    transforms = []
    for stamp in sweeps:
        egovehicle_from_city = np.linalg.inv(global_from_ego(seconds(stamp)) @ shifted(AXLE))
        for car in CARS:
            city_from_box = shifted(car.center(seconds(stamp)))
            city_from_box[:3, :3] = turned(car.heading)
            transforms.append(egovehicle_from_city @ city_from_box)
            for key, value in zip(columns, (1000 * stamp, car.name, "REGULAR_VEHICLE", *car.size), strict=True):
                columns[key].append(value)
    return {**columns, **poses(transforms), "num_interior_pts": [POINTS] * len(transforms)}


def seconds(stamp_us):
    """Since the start."""
    return (stamp_us - START_US) / 1e6


def shifted(translation):
    """A transform that only moves."""
    transform = np.eye(4)
    transform[:3, 3] = translation
    return transform


def raised(ego_from_sensor):
    """A mounting on the road's frame, in the egovehicle's."""
    return shifted(-AXLE) @ ego_from_sensor


def poses(transforms):
    """Columns of POSE."""
    rows = [[*mat2quat(transform[:3, :3]), *transform[:3, 3]] for transform in transforms]
    return dict(zip(POSE, np.array(rows).T.tolist(), strict=True))


def write_cloud(path, points):
    """A sweep with the types that Argoverse has."""
    count = len(points)
    columns = {axis: values.astype(np.float16) for axis, values in zip("xyz", points.T, strict=True)}
    numbers = np.arange(count)
    write(
        path,
        columns
        | {
            "intensity": (numbers % 200).astype(np.uint8),
            "laser_number": (numbers % 64).astype(np.uint8),
            "offset_ns": (numbers * 1000).astype(np.int32),
        },
    )


def write(path, columns):
    """A feather file, compressed as pandas compresses it."""
    import pyarrow
    import pyarrow.feather

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.feather.write_feather(pyarrow.table(columns), str(path), compression="lz4")


def changed(path, change):
    """Write a file again with columns that `change` has changed in place: lists by name."""
    import pyarrow.feather

    columns = pyarrow.feather.read_table(str(path)).to_pydict()
    change(columns)
    write(path, columns)
