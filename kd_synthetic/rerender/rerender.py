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

from kd_perception.atomic import write_text
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import yaw_of
from kd_synthetic.assets.buildings import facade_atlas
from kd_synthetic.dataset.annotate import Annotation, annotate
from kd_synthetic.dataset.card import fact_of, read_facts, write_card
from kd_synthetic.dataset.config import RenderConfig, check_choice
from kd_synthetic.dataset.runner import run_scenes
from kd_synthetic.dataset.sensor_files import write_cloud, write_for_teachers, write_picture
from kd_synthetic.rendering.camera import CameraRenderer, Exposure
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
from kd_synthetic.rerender.source import SourceScene, original_facts, read_scene, scene_count
from kd_synthetic.rerender.tables import rerendered_rows, write_rerendered_tables
from kd_synthetic.streets.actors import Actor, Track
from kd_synthetic.streets.cities import CITIES
from kd_synthetic.streets.conditions import DEFAULT_CONDITIONS, LIGHTS, WEATHERS, Conditions

RERENDER_VERSION = 1  # raise it when re-rendered pictures change
VEHICLES = ("car", "truck", "bus", "trailer", "construction_vehicle", "motorcycle")
ROAD_REACH = 90.0  # metres around the ego's way in which vehicles shape the street


@dataclass(frozen=True, kw_only=True)
class RerenderConfig(RenderConfig):
    """What to re-render: all scenes of the tables `version` in `dataroot`.

    Raises DataError for unreadable tables (on use of `scenes`) and ValueError for unknown conditions.
    """

    dataroot: Path
    version: str
    conditions: Conditions = DEFAULT_CONDITIONS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("city of re-rendered scenes", self.conditions.city, tuple(CITIES))
        check_choice("light of re-rendered scenes", self.conditions.light, LIGHTS)
        check_choice("weather of re-rendered scenes", self.conditions.weather, WEATHERS)

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
        """The file that marks scene `index` as finished and holds its rows."""
        return self.out / "scenes" / f"{index:04d}.json"


def rerender(config: RerenderConfig, on_scene: Callable[[int, int], None] | None = None) -> None:
    """Render what is missing, then write the tables and a card next to the original's statistics.

    Raises DataError if the tables cannot be read or `out` holds other content.
    """
    files = run_scenes(config, rerender_scene, on_scene)
    original = original_facts(open_nuscenes(config.dataroot, config.version))
    write_rerendered_tables(config.out, config.dataroot / config.version, config.version, files)
    write_card(config.out, read_facts(files), {"scenes": config.scenes} | config.content, original=original)


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
    key = (zlib.crc32(scene.name.encode()), 1)
    noise = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=key))
    writer = _KeyframeWriter(config, scene, world, CameraRenderer.of_rig(world), noise)
    rows, facts = [], []
    for number, frame in enumerate(scene.frames):
        annotations = writer.write(number)
        rows.append(rerendered_rows(scene, number, annotations))
        named = [(annotation, world.actors[annotation.actor].name) for annotation in annotations]
        facts.append([astuple(fact_of(each, name, frame.ego[:2, 3])) for each, name in named if name])
    content = {"content": config.content, "scene": scene.name, "annotations": rows, "facts": facts}
    rig = {camera.channel: camera.intrinsics.tolist() for camera in scene.rig.cameras}
    write_text(config.scene_file(index), json.dumps(content | {"rig": rig}))


@dataclass(frozen=True)
class _KeyframeWriter:
    """Renders a scene's keyframes into the files that the tables name."""

    config: RerenderConfig
    scene: SourceScene
    world: World
    renderers: list[CameraRenderer]
    noise: np.random.Generator

    def write(self, number: int) -> list[Annotation]:
        """Every camera at its own time and pose, then the LiDAR at the keyframe's; returns what they saw."""
        config, world, frame = self.config, self.world, self.scene.frames[number]
        exposures: dict[str, Exposure] = {}
        for renderer in self.renderers:
            channel = renderer.camera.channel
            filename = frame.rows[channel]["filename"]
            geometry = world.geometry(frame.steps[channel])
            exposures[filename] = renderer.render(geometry, frame.poses[channel], self.noise)
            write_picture(config.out / filename, exposures[filename].image)
        geometry = world.geometry(frame.step)
        cloud = scan(world, geometry, frame.ego, self.noise)
        write_cloud(config.out / frame.rows[LIDAR_CHANNEL]["filename"], cloud)
        points = points_in_world(world, frame.ego, cloud)
        seen = annotate(world, geometry, frame.ego[:2, 3], list(exposures.values()), points)
        tracks = self.scene.tracks
        annotations = [annotation for annotation in seen if number in tracks[annotation.actor].frames]
        tokens = {annotation.actor: tracks[annotation.actor].row(number)["token"] for annotation in annotations}
        for filename, exposure in exposures.items():
            write_for_teachers(config, filename, exposure, tokens)
        return annotations
