"""Re-renders real traffic: ego poses, calibration and boxes come from nuScenes-format tables, streets and looks from
the synthetic world. Samples, sample_data and annotations keep their tokens, so that results correspond.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from kd_perception.atomic import atomic_path, write_text
from kd_perception.datasets.instance_masks import beside, write_depth, write_mask
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import yaw_of
from kd_synthetic.assets.buildings import facade_atlas
from kd_synthetic.dataset.annotate import Annotation, Exposure, annotate
from kd_synthetic.dataset.card import Fact, class_statistics, write_card
from kd_synthetic.dataset.runner import run_scenes
from kd_synthetic.dataset.scene import write_jpeg
from kd_synthetic.rendering.camera import CameraRenderer
from kd_synthetic.rendering.hours import build_light
from kd_synthetic.rendering.lidar import points_in_world, scan
from kd_synthetic.rendering.sensors import LIDAR_CHANNEL
from kd_synthetic.rendering.world import World
from kd_synthetic.rerender.cast import cast
from kd_synthetic.rerender.driven_street import (
    TrafficFootprints,
    build_driven_scenery,
    driven_street,
    paint_driven_ground,
)
from kd_synthetic.rerender.source import SourceFrame, SourceScene, original_facts, read_scene, scene_count
from kd_synthetic.rerender.tables import rerendered_rows, write_rerendered_tables
from kd_synthetic.streets.actors import Actor, Track
from kd_synthetic.streets.cities import CITIES
from kd_synthetic.streets.conditions import DEFAULT_CONDITIONS, LIGHTS, WEATHERS, Conditions

RERENDER_VERSION = 1  # raise it when re-rendered pictures change
VEHICLES = ("car", "truck", "bus", "trailer", "construction_vehicle", "motorcycle")
ROAD_REACH = 90.0  # metres around the ego's way in which vehicles shape the street


@dataclass(frozen=True)
class RerenderConfig:
    """What to re-render: all scenes of the tables `version` in `dataroot`, into `out`. Raises DataError for unreadable
    tables (on use of `scenes`) and ValueError for unknown conditions.
    """

    out: Path
    dataroot: Path
    version: str
    seed: int = 0
    width: int = 704
    height: int = 256
    jobs: int = 2
    conditions: Conditions = DEFAULT_CONDITIONS
    masks: bool = False
    depth: bool = False

    def __post_init__(self) -> None:
        chosen = self.conditions
        if chosen.city not in CITIES or chosen.light not in LIGHTS or chosen.weather not in WEATHERS:
            raise ValueError(f"re-rendered scenes need one city, light and weather, got {astuple(chosen)}")

    @cached_property
    def scenes(self) -> int:
        """How many scenes the tables hold."""
        return scene_count(self.dataroot, self.version)

    @property
    def content(self) -> dict[str, int | str | bool]:
        """The settings that a finished scene's bytes depend on."""
        chosen = self.conditions
        return {"replay_version": RERENDER_VERSION, "tables": self.version, "seed": self.seed, "width": self.width,
                "height": self.height, "city": chosen.city, "light": chosen.light, "weather": chosen.weather,
                "masks": self.masks, "depth": self.depth}  # fmt: skip

    def scene_file(self, index: int) -> Path:
        """The file that says scene `index` is finished, and holds its rows."""
        return self.out / "scenes" / f"{index:04d}.json"


def rerender(config: RerenderConfig, on_scene: Callable[[int, int], None] | None = None) -> None:
    """Render what is missing, then write the tables and a card beside the original's statistics.

    Raises DataError if the tables cannot be read or `out` holds other content.
    """
    files = run_scenes(config, rerender_scene, on_scene)
    nusc = open_nuscenes(config.dataroot, config.version)
    write_rerendered_tables(config.out, config.dataroot / config.version, config.version, files)
    facts = [[Fact(*row) for row in frame] for path in files for frame in json.loads(path.read_text())["facts"]]
    original = original_facts(nusc)
    reference = class_statistics([fact for frame in original for fact in frame], len(original))
    settings = {"scenes": config.scenes} | {n: v for n, v in config.content.items() if n != "replay_version"}
    flat = [fact for frame in facts for fact in frame]
    write_card(config.out, flat, len(facts), settings, reference, ("re-rendered", "original"))


def rerendered_world(config: RerenderConfig, scene: SourceScene, attributes: dict[str, str]) -> World:
    """The world of a scene's tracks: who is where comes from the tables, all else from the seed."""
    seed = np.random.SeedSequence(config.seed, spawn_key=(zlib.crc32(scene.name.encode()),))
    for_scenery, for_ground, for_light, for_gain = (np.random.default_rng(child) for child in seed.spawn(4))
    steps = np.array([frame.step for frame in scene.frames])
    way = np.array([frame.ego[:2, 3] for frame in scene.frames])
    yaw = np.unwrap([yaw_of(frame.ego) for frame in scene.frames])
    actors = tuple(cast(track, steps[list(track.frames)], attributes) for track in scene.tracks)
    footprints = _footprints(scene, actors, way)
    city = CITIES[config.conditions.city]
    street = driven_street(way, yaw, footprints, city.keep)
    return World(
        scene.name,
        Track(way, yaw, steps),
        np.zeros((1, 2)),
        actors,
        build_driven_scenery(street, way, footprints, for_scenery, city),
        paint_driven_ground(street, way, footprints, for_ground, city),
        build_light(config.conditions, for_light),
        scene.rig,
        facade_atlas(for_scenery),
        1.0 + 0.05 * for_gain.standard_normal(len(scene.rig.cameras)),
    )


def _footprints(scene: SourceScene, actors: tuple[Actor, ...], way: np.ndarray) -> TrafficFootprints:
    corners, parked, heading, points = [], [], [], [way]
    for track, actor in zip(scene.tracks, actors, strict=True):
        count = len(track.yaw)
        boxes = Boxes(
            np.column_stack([track.xy, np.zeros(count)]), np.tile(track.size, (count, 1)), track.yaw,
            np.zeros((count, 2)), np.zeros(count, np.int64), np.ones(count),
        )  # fmt: skip
        outline = boxes.corners()[:, :4, :2]
        points += [track.xy, outline.reshape(-1, 2), (outline + np.roll(outline, 1, axis=1)).reshape(-1, 2) / 2]
        near = np.linalg.norm(track.xy[:, None] - way[None], axis=-1).min(1) < ROAD_REACH
        if track.name in VEHICLES and near.any():
            still = np.linalg.norm(np.ptp(track.xy, axis=0)) < 0.5
            chosen = np.flatnonzero(near)[:1] if still else np.flatnonzero(near)
            corners += list(outline[chosen])
            parked += [actor.at_rest == "vehicle.parked"] * len(chosen)
            heading += track.yaw[chosen].tolist()
    rectangles = np.array(corners).reshape(-1, 4, 2)
    return TrafficFootprints(rectangles, np.array(parked, bool), np.array(heading), np.concatenate(points))


def rerender_scene(config: RerenderConfig, index: int) -> None:
    """Render and write scene `index` of the tables; its scene file comes last, atomically."""
    cv2.setNumThreads(1)
    nusc = open_nuscenes(config.dataroot, config.version)
    scene = read_scene(nusc, index, config.width, config.height)
    world = rerendered_world(config, scene, {row["token"]: row["name"] for row in nusc.attribute})
    gains = world.camera_gain.tolist()
    renderers = [CameraRenderer(world, camera, gain) for camera, gain in zip(world.rig.cameras, gains, strict=True)]
    noise = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(zlib.crc32(scene.name.encode()), 1)))
    rows, facts = [], []
    for number, frame in enumerate(scene.frames):
        annotations = _render_frame(config, world, renderers, scene, number, noise)
        rows.append(rerendered_rows(scene, number, annotations))
        facts.append([astuple(fact) for fact in _facts(world, frame, annotations)])
    content = {"content": config.content, "scene": scene.name, "annotations": rows, "facts": facts}
    write_text(config.scene_file(index), json.dumps(content | {"rig": _rig_rows(scene)}))


def _rig_rows(scene: SourceScene) -> dict[str, list[list[float]]]:
    """K of every camera as rendered."""
    return {camera.channel: camera.intrinsics.tolist() for camera in scene.rig.cameras}


def _render_frame(
    config: RerenderConfig,
    world: World,
    renderers: list[CameraRenderer],
    scene: SourceScene,
    number: int,
    noise: np.random.Generator,
) -> list[Annotation]:
    """Every camera at its own time and pose, then the LiDAR at the keyframe's; returns what they saw."""
    frame = scene.frames[number]
    views, files = [], []
    for renderer in renderers:
        channel = renderer.camera.channel
        geometry, pose = world.geometry(frame.steps[channel]), frame.poses[channel]
        views.append(Exposure(renderer, pose, geometry, renderer.render(geometry, pose, noise)))
        files.append(frame.rows[channel]["filename"])
        write_jpeg(config.out / files[-1], views[-1].frame.image)
    geometry = world.geometry(frame.step)
    cloud = scan(world, geometry, frame.ego, noise)
    with atomic_path(config.out / frame.rows[LIDAR_CHANNEL]["filename"]) as path:
        path.write_bytes(cloud.astype("<f4").tobytes())
    seen = annotate(world, geometry, frame.step, frame.ego[:2, 3], views, points_in_world(world, frame.ego, cloud))
    annotations = [annotation for annotation in seen if number in scene.tracks[annotation.actor].frames]
    tokens = {annotation.actor: scene.tracks[annotation.actor].row(number)["token"] for annotation in annotations}
    for view, filename in zip(views, files, strict=True):
        if config.masks:
            write_mask(beside(config.out, "masks", filename), view.frame.owner, tokens)
        if config.depth:
            write_depth(beside(config.out, "depth", filename), view.frame.distance)
    return annotations


def _facts(world: World, frame: SourceFrame, annotations: list[Annotation]) -> list[Fact]:
    facts = []
    for annotation in annotations:
        name = world.actors[annotation.actor].name
        distance = float(np.linalg.norm(np.array(annotation.centre[:2]) - frame.ego[:2, 3]))
        if name:
            speed = round(annotation.speed, 2)
            facts.append(Fact(name, round(distance, 2), annotation.lidar_points, annotation.visibility, speed))
    return facts
