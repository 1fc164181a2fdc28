"""The tables of a re-rendered set: the source's own, with what changed: picture sizes, calibration, and annotations as
the rendered sensors see them. All tokens stay; boxes stand on the flat ground; what no sensor sees is left out.
"""

import json
from pathlib import Path

import cv2
import numpy as np

from kd_perception.atomic import write_bytes, write_text
from kd_perception.geometry.transforms import quaternion_from_yaw
from kd_synthetic.dataset.annotate import Annotation
from kd_synthetic.dataset.tables import link
from kd_synthetic.rerender.source import SourceScene

SPLIT = "rerendered"  # every scene, as a split of the devkit's `splits.json`


def rerendered_rows(scene: SourceScene, number: int, annotations: list[Annotation]) -> list[dict]:
    """The source's sample_annotation rows of keyframe `number`, with what was measured in the rendered sensors."""
    rows = []
    for annotation in annotations:
        source = scene.tracks[annotation.actor].row(number)
        measured = {
            "translation": list(annotation.centre),
            "rotation": quaternion_from_yaw(annotation.yaw).tolist(),
            "num_lidar_pts": annotation.lidar_points,
            "num_radar_pts": 0,
            "visibility_token": str(annotation.visibility),
            "prev": "",
            "next": "",
        }
        rows.append({name: value for name, value in source.items() if name != "category_name"} | measured)
    return rows


def write_rerendered_tables(out: Path, source: Path, version: str, scene_files: list[Path]) -> None:
    """Write the tables under `out`/`version` from the source's folder and the finished scenes."""
    tables = {path.stem: json.loads(path.read_text()) for path in sorted(source.glob("*.json"))}
    finished = [json.loads(path.read_text()) for path in scene_files]
    rows = [row for scene in finished for frame in scene["annotations"] for row in frame]
    chains: dict[str, list[dict]] = {}
    for row in rows:
        chains.setdefault(row["instance_token"], []).append(row)
    tables["sample_annotation"] = [row for chain in chains.values() for row in link(chain)]
    tables["instance"] = [
        row
        | {
            "nbr_annotations": len(chains[row["token"]]),
            "first_annotation_token": chains[row["token"]][0]["token"],
            "last_annotation_token": chains[row["token"]][-1]["token"],
        }
        for row in tables["instance"]
        if row["token"] in chains
    ]
    _use_rendered_sensors(tables, finished)
    tables["splits"] = {SPLIT: [scene["scene"] for scene in finished]}
    ok, png = cv2.imencode(".png", np.full((16, 16), 255, np.uint8))
    if not ok:
        raise RuntimeError("OpenCV could not encode the map picture as PNG")
    for row in tables["map"]:
        write_bytes(out / row["filename"], png.tobytes())
    for name, content in tables.items():
        write_text(out / version / f"{name}.json", json.dumps(content))


def _use_rendered_sensors(tables: dict, finished: list[dict]) -> None:
    """Keep and link the keyframes of cameras and LiDAR, at the rendered size and with the rendered K."""
    channel_of_sensor = {row["token"]: row["channel"] for row in tables["sensor"]}
    channel_of = {row["token"]: channel_of_sensor[row["sensor_token"]] for row in tables["calibrated_sensor"]}
    scene_of_sample = {row["token"]: row["scene_token"] for row in tables["sample"]}
    rig_of = {
        row["token"]: scene["rig"] for scene in finished for row in tables["scene"] if row["name"] == scene["scene"]
    }
    chains: dict[tuple[str, str], list[dict]] = {}
    for row in tables["sample_data"]:
        scene, channel = scene_of_sample[row["sample_token"]], channel_of[row["calibrated_sensor_token"]]
        camera = channel in rig_of[scene]
        if row["is_key_frame"] and (camera or channel == "LIDAR_TOP"):
            chains.setdefault((scene, channel), []).append(row | {"prev": "", "next": ""})
    kept = [row for chain in chains.values() for row in link(sorted(chain, key=lambda row: row["timestamp"]))]
    intrinsics = {}
    for (scene, channel), chain in chains.items():
        for row in chain:
            if channel in rig_of[scene]:
                intrinsics[row["calibrated_sensor_token"]] = rig_of[scene][channel]
    for row in kept:
        if row["calibrated_sensor_token"] in intrinsics:
            row["width"], row["height"] = finished[0]["content"]["width"], finished[0]["content"]["height"]
    tables["sample_data"] = kept
    poses = {row["ego_pose_token"] for row in kept}
    tables["ego_pose"] = [row for row in tables["ego_pose"] if row["token"] in poses]
    used = {row["calibrated_sensor_token"] for row in kept}
    tables["calibrated_sensor"] = [
        row | ({"camera_intrinsic": intrinsics[row["token"]]} if row["token"] in intrinsics else {})
        for row in tables["calibrated_sensor"]
        if row["token"] in used
    ]
