"""A small nuScenes-format data set whose images are painted for `support.fake_student`, so that evaluation has known
detections.

Two scenes of a moving, turning, slightly tilted ego among standing objects; every sensor has its own time stamps, there
is a frame between keyframes, and one annotated box holds no LiDAR point.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from kd_perception.datasets.nuscenes import CAMERA_CHANNELS
from kd_perception.datasets.rigs import LIDAR
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw, quaternion_of
from support.fake_student import HEIGHT, SIZE, YAW, paint

VERSION = "v1.0-painted"
SCENES = ("scene-north", "scene-east")
IMAGE_SIZE = (352, 128)  # width, height
START_US = 1_600_000_000_000_000
KEYFRAME_US, SWEEP_US = 500_000, 250_000
OFFSETS_US = (12_000, 20_000, 28_000, 36_000, 44_000, 4_000, 16_000, 24_000, 32_000, 40_000, 48_000, 8_000)
LIDAR_OFFSETS_US = (50_000, 54_000)
LIDAR_MOUNTING = make_transform(quaternion_from_yaw(-np.pi / 2), np.array([0.9, 0.0, 1.8]))
CATEGORIES = {
    "car": "vehicle.car",
    "bus": "vehicle.bus.rigid",
    "truck": "vehicle.truck",
    "barrier": "movable_object.barrier",
}
ATTRIBUTES = {"car": "vehicle.parked", "bus": "vehicle.stopped", "truck": "vehicle.parked"}


@dataclass(frozen=True)
class Thing:
    """A standing object: class, x and y (metres) in the scene's first ego frame, LiDAR points in its box."""

    class_name: str
    xy: tuple[float, float]
    points: int = 7


THINGS = (
    Thing("car", (11.5, 1.0)),
    Thing("car", (-8.5, 5.5)),
    Thing("bus", (6.5, -13.5)),
    Thing("truck", (-12.0, -7.0)),
    Thing("car", (18.5, 9.5)),
    Thing("barrier", (8.5, 7.5)),
    Thing("truck", (3.0, 16.0), points=0),
)


@dataclass(frozen=True)
class PaintedRig:
    """The sensors of a scene, by channel, the anchor first: cameras, and the mountings (4, 4) of LiDARs."""

    cameras: dict[str, Camera]
    lidars: dict[str, np.ndarray]

    @property
    def offsets_us(self) -> dict[str, int]:
        """When each sensor measures, after a keyframe's stamp."""
        cameras = dict(zip(self.cameras, OFFSETS_US, strict=False))
        return cameras | dict(zip(self.lidars, LIDAR_OFFSETS_US, strict=False))


def write_dataset(
    root: Path, samples: int = 3, sweeps: bool = True, rigs: Mapping[str, PaintedRig] | None = None
) -> Path:
    """Write tables, images and point clouds under `root` and return it; `rigs` by scene, else nuScenes' in all."""
    same = PaintedRig(painted_rig(), {LIDAR: LIDAR_MOUNTING})
    rigs = rigs or dict.fromkeys(SCENES, same)
    tables: dict[str, list[dict]] = {
        name: [] for name in ("sample", "sample_data", "ego_pose", "sample_annotation", "instance", "scene")
    }
    tables |= _fixed_tables(rigs)
    for number, scene in enumerate(SCENES):
        _write_scene(root, tables, rigs[scene], scene, number, samples, sweeps)
    (root / VERSION).mkdir(parents=True)
    for name, rows in tables.items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(rows))
    return root


def painted_rig() -> dict[str, Camera]:
    """The ideal rig of six under nuScenes' channel names (which go clockwise)."""
    return clockwise_rig(CAMERA_CHANNELS)


def clockwise_rig(channels: Sequence[str]) -> dict[str, Camera]:
    """An ideal ring under other names, the first ahead, the others clockwise from it; of fewer than five with wider
    lenses, so that they see all around."""
    view = np.radians(80.0 if len(channels) > 4 else 100.0)
    rig = ring_rig(len(channels), *IMAGE_SIZE, view)
    return {channel: rig[-i % len(rig)] for i, channel in enumerate(channels)}


def four_and_seven() -> dict[str, PaintedRig]:
    """Two rigs under other names: four cameras and two LiDARs at the sides in one scene, seven and one in the other."""
    sides = {
        name: make_transform(quaternion_from_yaw(yaw), np.array([0.5, y, 1.2]))
        for name, yaw, y in (("lidar_left", 1.0, 0.9), ("lidar_right", -1.0, -0.9))
    }
    four = PaintedRig(clockwise_rig(("front", "right", "rear", "left")), sides)
    seven = PaintedRig(clockwise_rig([f"cam{number}" for number in range(7)]), {"roof": LIDAR_MOUNTING})
    return dict(zip(SCENES, (four, seven), strict=True))


def without_rows(root: Path, *named: str) -> Path:
    """Remove the sample_data rows whose file name contains one of `named`; returns `root`."""
    path = root / VERSION / "sample_data.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([row for row in rows if not any(name in row["filename"] for name in named)]))
    return root


def token(*parts: object) -> str:
    """A reproducible table token."""
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def scene_start(number: int) -> np.ndarray:
    """`global_from_ego` of a scene's first moment."""
    return make_transform(quaternion_from_yaw(0.4 + 1.3 * number), np.array([600.0 + 50.0 * number, 1600.0, 0.5]))


def ego_at(number: int, seconds: float) -> np.ndarray:
    """`global_from_ego`: 2 m/s ahead, turning left by 0.05 rad/s, with a little roll and pitch."""
    tilt = make_transform(np.array([1.0, 0.004, -0.006, 0.0]), np.zeros(3))
    start_from_ego = make_transform(
        quaternion_from_yaw(0.05 * seconds), np.array([2.0 * seconds, 0.05 * seconds**2, 0.0])
    )
    return scene_start(number) @ start_from_ego @ tilt


def _write_scene(
    root: Path, tables: dict, rig: PaintedRig, scene: str, number: int, samples: int, sweeps: bool
) -> None:
    tokens = [token(scene, i) for i in range(samples)]
    for i, sample in enumerate(tokens):
        key_us = START_US + number * 60_000_000 + i * KEYFRAME_US
        tables["sample"].append(
            {
                "token": sample,
                "timestamp": key_us,
                "scene_token": token(scene),
                "prev": tokens[i - 1] if i else "",
                "next": tokens[i + 1] if i + 1 < samples else "",
            }
        )
        for is_key, base_us in (
            ((True, key_us), (False, key_us + SWEEP_US)) if sweeps and i + 1 < samples else ((True, key_us),)
        ):
            seconds = (base_us - START_US - number * 60_000_000) / 1e6
            anchor_s = OFFSETS_US[0] / 1e6
            pictures = _pictures(rig.cameras, invert(ego_at(number, seconds + anchor_s)), number)
            for channel, offset in rig.offsets_us.items():
                _write_sensor_data(
                    root,
                    tables,
                    scene,
                    number,
                    sample,
                    channel,
                    base_us + offset,
                    seconds + offset / 1e6,
                    is_key,
                    pictures,
                )
    for j, thing in enumerate(THINGS):
        _annotate(tables, scene, number, tokens, j, thing)
    tables["scene"].append(
        {
            "token": token(scene),
            "name": scene,
            "description": "painted",
            "log_token": token("log"),
            "nbr_samples": samples,
            "first_sample_token": tokens[0],
            "last_sample_token": tokens[-1],
        }
    )


def _pictures(rig: dict[str, Camera], ego_from_global: np.ndarray, number: int) -> dict[str, np.ndarray]:
    width, height = IMAGE_SIZE
    pictures = {channel: np.full((height, width, 3), 60, np.uint8) for channel in rig}
    for thing in THINGS:
        position = apply(ego_from_global @ scene_start(number), np.array([[*thing.xy, HEIGHT]]))[0]
        if thing.points:
            paint(list(pictures.values()), list(rig.values()), position[:2], thing.class_name)
    return pictures


def _write_sensor_data(
    root: Path,
    tables: dict,
    scene: str,
    number: int,
    sample: str,
    channel: str,
    stamp_us: int,
    seconds: float,
    is_key: bool,
    pictures: dict,
) -> None:
    is_lidar = channel not in pictures
    suffix = "pcd.bin" if is_lidar else "jpg"
    path = Path("samples" if is_key else "sweeps") / channel / f"{scene}__{channel}__{stamp_us}.{suffix}"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    if is_lidar:
        generator = np.random.default_rng(stamp_us)
        cloud = np.column_stack(
            [
                generator.uniform(-40, 40, (500, 2)),
                generator.uniform(-2, 2, 500),
                generator.uniform(0, 255, 500),
                np.arange(500) % 32,
            ]
        )
        (root / path).write_bytes(cloud.astype(np.float32).tobytes())
    else:
        (root / path).write_bytes(simplejpeg.encode_jpeg(pictures[channel], 95, "RGB", "444"))
    pose, name = ego_at(number, seconds), token(scene, channel, stamp_us)
    tables["ego_pose"].append(
        {
            "token": name,
            "timestamp": stamp_us,
            "rotation": quaternion_of(pose).tolist(),
            "translation": pose[:3, 3].tolist(),
        }
    )
    width, height = (0, 0) if is_lidar else IMAGE_SIZE
    tables["sample_data"].append(
        {
            "token": name,
            "sample_token": sample,
            "ego_pose_token": name,
            "calibrated_sensor_token": token("calibration", scene, channel),
            "timestamp": stamp_us,
            "fileformat": suffix.split(".")[0],
            "is_key_frame": is_key,
            "height": height,
            "width": width,
            "filename": str(path),
            "prev": "",
            "next": "",
        }
    )


def _annotate(tables: dict, scene: str, number: int, tokens: list[str], j: int, thing: Thing) -> None:
    names = [token(scene, "annotation", j, i) for i in range(len(tokens))]
    center = apply(scene_start(number), np.array([[*thing.xy, HEIGHT]]))[0]
    rotation = quaternion_of(scene_start(number) @ make_transform(quaternion_from_yaw(YAW), np.zeros(3)))
    length, width, height = SIZE
    attribute = ATTRIBUTES.get(thing.class_name)
    for i, sample in enumerate(tokens):
        tables["sample_annotation"].append(
            {
                "token": names[i],
                "sample_token": sample,
                "instance_token": token(scene, "instance", j),
                "visibility_token": "4",
                "attribute_tokens": [token(attribute)] if attribute else [],
                "translation": center.tolist(),
                "size": [width, length, height],
                "rotation": rotation.tolist(),
                "prev": names[i - 1] if i else "",
                "next": names[i + 1] if i + 1 < len(names) else "",
                "num_lidar_pts": thing.points,
                "num_radar_pts": 0,
            }
        )
    tables["instance"].append(
        {
            "token": token(scene, "instance", j),
            "category_token": token(CATEGORIES[thing.class_name]),
            "nbr_annotations": len(tokens),
            "first_annotation_token": names[0],
            "last_annotation_token": names[-1],
        }
    )


def _fixed_tables(rigs: Mapping[str, PaintedRig]) -> dict[str, list[dict]]:
    mountings = {
        (scene, channel): ("camera", camera.ego_from_camera, camera.integer_centred_intrinsics().tolist())
        for scene, rig in rigs.items()
        for channel, camera in rig.cameras.items()
    } | {
        (scene, channel): ("lidar", mounting, [])
        for scene, rig in rigs.items()
        for channel, mounting in rig.lidars.items()
    }
    return {
        "category": [{"token": token(name), "name": name, "description": ""} for name in CATEGORIES.values()],
        "attribute": [
            {"token": token(name), "name": name, "description": ""} for name in sorted(set(ATTRIBUTES.values()))
        ],
        "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
        "sensor": [
            {"token": token("sensor", channel), "channel": channel, "modality": modality}
            for channel, modality in {channel: kind for (_, channel), (kind, _, _) in mountings.items()}.items()
        ],
        "calibrated_sensor": [
            {
                "token": token("calibration", scene, channel),
                "sensor_token": token("sensor", channel),
                "camera_intrinsic": intrinsic,
                "rotation": quaternion_of(transform).tolist(),
                "translation": transform[:3, 3].tolist(),
            }
            for (scene, channel), (_, transform, intrinsic) in mountings.items()
        ],
        "log": [
            {
                "token": token("log"),
                "logfile": "",
                "vehicle": "painted",
                "date_captured": "2026-01-01",
                "location": "nowhere",
            }
        ],
        "map": [{"token": token("map"), "log_tokens": [token("log")], "category": "semantic_prior", "filename": ""}],
    }
