"""A small T4 data set of support.small_log's drive: tables in annotation/, files in data/, as Autoware has them."""

import json

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

DATA_SET = "db_drive_1"
YAWS = {"CAM_FRONT": 0.0, "CAM_FRONT_RIGHT": -1.0, "CAM_BACK": np.pi, "CAM_FRONT_LEFT": 1.0, "CAM_BACK_LEFT": 2.0}
LIDAR, RADAR = "LIDAR_CONCAT", "RADAR_FRONT"
ATTRIBUTES = ("vehicle_state.driving", "vehicle_state.parked", "occlusion_state.none")
LEVELS = ("full", "most", "partial", "none")
EVERY = 5  # sweeps from one annotated sample to the next


def write_t4(folder, *, annotated=True, name=DATA_SET):
    """Write a data set below `folder`, and return its own folder."""
    root = folder / name
    tables = {table: [] for table in ("sample", "sample_data", "ego_pose", "sample_annotation", "instance")}
    tables |= fixed_tables(annotated=annotated)
    for index in range(SWEEPS):
        key = index % EVERY == 0
        stamp = START_US + index * STEP_US
        sample = f"sample {index // EVERY}"
        if key:
            tables["sample"].append({"token": sample, "timestamp": stamp, "scene_token": "scene"})
        files = [(LIDAR, stamp, f"{index}.pcd.bin"), (RADAR, stamp, f"{index}.pcd")]
        files += [(name, stamp + EXPOSED_US, f"{index}.png") for name in YAWS]
        for channel, measured, file in files:
            write_file(root / "data" / channel / file, channel, (measured - START_US) / 1e6)
            add_measurement(tables, f"data/{channel}/{file}", channel, measured, sample if key else "")
    link(tables["sample"])
    if annotated:
        for car in CARS:
            add_car(tables, car)
    for table, rows in tables.items():
        path = root / "annotation" / f"{table}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
    return root


def write_file(path, channel, seconds):
    """A picture or a cloud; a radar's file is left empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if channel in YAWS:
        cv2.imwrite(str(path), picture(mounting(YAWS[channel]), seconds))
    elif channel == LIDAR:
        points = np.pad(cloud(seconds), ((0, 0), (0, 2)), constant_values=-1.0)
        points[:, 3] = 40.0
        points.astype(np.float32).tofile(path)
    else:
        path.touch()


def add_measurement(tables, filename, channel, stamp, sample):
    """The rows of a file: without a sample where it is no keyframe."""
    is_camera = channel in YAWS
    pose = global_from_ego((stamp - START_US) / 1e6)
    token = f"{channel} {stamp}"
    tables["ego_pose"].append({"token": token, "timestamp": stamp, "twist": None, **placed(pose)})
    tables["sample_data"].append(
        {
            "token": token,
            "sample_token": sample,
            "ego_pose_token": token,
            "calibrated_sensor_token": f"calibrated {channel}",
            "filename": filename,
            "fileformat": filename.partition(".")[2],
            "width": WIDTH if is_camera else 0,
            "height": HEIGHT if is_camera else 0,
            "timestamp": stamp,
            "is_key_frame": bool(sample),
            "next": "",
            "prev": "",
            "is_valid": True,
            "info_filename": None,
        }
    )


def add_car(tables, car):
    """The annotations of a car in all samples."""
    rows = []
    for sample in tables["sample"]:
        box = np.eye(4)
        box[:3, :3], box[:3, 3] = turned(car.heading), car.center((sample["timestamp"] - START_US) / 1e6)
        length, width, height = car.size
        rows.append(
            {
                "token": f"{car.name} {sample['token']}",
                "sample_token": sample["token"],
                "instance_token": car.name,
                "attribute_tokens": ["occlusion_state.none", f"vehicle_state.{'driving' if car.speed else 'parked'}"],
                "visibility_token": "most",
                "size": [width, length, height],
                "velocity": None,
                "num_lidar_pts": POINTS,
                "num_radar_pts": 0,
                "automatic_annotation": True,
                "autolabel_metadata": [{"name": "made", "score": 0.9}],
                **placed(box),
            }
        )
    link(rows)
    tables["sample_annotation"] += rows
    tables["instance"].append(
        {
            "token": car.name,
            "category_token": "car",
            "instance_name": f"{DATA_SET}::{car.name}",
            "nbr_annotations": len(rows),
            "first_annotation_token": rows[0]["token"],
            "last_annotation_token": rows[-1]["token"],
        }
    )


def fixed_tables(*, annotated):
    """What does not change along the drive; data sets that nobody annotated have empty tables."""
    names = [*YAWS, LIDAR, RADAR]
    modality = {LIDAR: "lidar", RADAR: "radar"}
    mountings = {name: mounting(YAWS[name]) if name in YAWS else np.eye(4) for name in names}
    calibrated = [
        {
            "token": f"calibrated {name}",
            "sensor_token": name,
            "camera_intrinsic": K.tolist() if name in YAWS else [],
            "camera_distortion": [0.0] * 5 if name in YAWS else [],
            **placed(mountings[name]),
        }
        for name in names
    ]
    named = {"category": ("car", "traffic_light"), "attribute": ATTRIBUTES} if annotated else {}
    return {
        "sensor": [{"token": name, "channel": name, "modality": modality.get(name, "camera")} for name in names],
        "calibrated_sensor": calibrated,
        "scene": [{"token": "scene", "name": "project_scene", "description": "", "log_token": "log",
                   "nbr_samples": 3, "first_sample_token": "sample 0", "last_sample_token": "sample 2"}],
        "category": [{"token": name, "name": name, "description": ""} for name in named.get("category", ())],
        "attribute": [{"token": name, "name": name, "description": ""} for name in named.get("attribute", ())],
        "visibility": [{"token": level, "level": level, "description": ""} for level in LEVELS if annotated],
        "log": [],
        "map": [],
    }  # fmt: skip


def placed(transform):
    """Fields of a pose."""
    return {"rotation": mat2quat(transform[:3, :3]).tolist(), "translation": transform[:3, 3].tolist()}


def link(rows):
    """Chain rows by prev and next."""
    tokens = ["", *(row["token"] for row in rows), ""]
    for before, row, after in zip(tokens, rows, tokens[2:], strict=False):
        row |= {"prev": before, "next": after}


def changed(root, table, change):
    """Write a table again with rows that `change` has changed in place."""
    path = root / "annotation" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))
