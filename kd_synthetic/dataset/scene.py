"""Renders one scene into its files: pictures, clouds and images for teachers, then the scene file with its rows."""

import json
from dataclasses import astuple

import cv2
import numpy as np

from kd_perception.atomic import write_text
from kd_synthetic.dataset.annotate import annotate
from kd_synthetic.dataset.card import fact_of
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.sensor_files import write_cloud, write_for_teachers, write_picture
from kd_synthetic.dataset.tables import SceneTables
from kd_synthetic.rendering.camera import CameraRenderer, Exposure
from kd_synthetic.rendering.geometry import Geometry
from kd_synthetic.rendering.lidar import points_in_world, scan
from kd_synthetic.rendering.sensors import LIDAR_CHANNEL, STEPS_PER_KEYFRAME
from kd_synthetic.rendering.world import build_world
from kd_synthetic.streets.traffic import DT


def render_scene(config: SynthConfig, index: int) -> None:
    """Render and write scene `index`; its scene file comes last, atomically."""
    cv2.setNumThreads(1)
    writer = _SceneWriter(config, index)
    for frame in range(config.frames):
        writer.keyframe(frame * STEPS_PER_KEYFRAME)
        if frame < config.frames - 1:
            writer.between(frame * STEPS_PER_KEYFRAME)
    content = {"content": config.content, "tables": writer.tables.finish(), "facts": writer.facts}
    write_text(config.scene_file(index), json.dumps(content))


class _SceneWriter:
    """Renders and writes one instant after the other. Pictures between keyframes have noise of their own, so that
    keyframes are the same with and without them.
    """

    def __init__(self, config: SynthConfig, index: int) -> None:
        for_world, *for_noise = np.random.SeedSequence(config.seed, spawn_key=(index,)).spawn(3)
        self._noise, self._between_noise = (np.random.default_rng(seed) for seed in for_noise)
        name, conditions = config.scene_name(index), config.conditions(index)
        steps = (config.frames - 1) * STEPS_PER_KEYFRAME + 1
        size = (config.width, config.height)
        self._config = config
        self._world = build_world(name, for_world, steps, size=size, rig=config.rig, conditions=conditions)
        self._renderers = CameraRenderer.of_rig(self._world)
        spread = config.camera_spread_ms / 1000.0
        self._offsets = [camera.firing_offset(spread) / DT for camera in self._world.rig.cameras]
        self.tables = SceneTables(self._world, index, config.seed, conditions)
        self.facts: list[list[tuple]] = []

    def keyframe(self, step: int) -> None:
        """Pictures, cloud and annotations of the keyframe at a time step."""
        world = self._world
        self.tables.add_sample(step)
        geometry = world.geometry(step)
        exposures = self._pictures(geometry, self._noise, keyframe=True)
        cloud = self._cloud(geometry, keyframe=True)
        pose = world.world_from_ego(step)
        points = points_in_world(world, pose, cloud)
        annotations = annotate(world, geometry, pose[:2, 3], list(exposures.values()), points)
        self.tables.add_annotations(annotations)
        tokens = self.tables.annotation_tokens()
        for filename, exposure in exposures.items():
            write_for_teachers(self._config, filename, exposure, tokens)
        ego = np.array(world.ego.at(step)[:2])
        self.facts.append([astuple(fact_of(each, world.actors[each.actor].name, ego)) for each in annotations])

    def between(self, keyframe: int) -> None:
        """LiDAR turns and pictures after the keyframe at step `keyframe`, up to the next one."""
        config = self._config
        turns = {round(STEPS_PER_KEYFRAME * i / (config.sweeps + 1)) for i in range(1, config.sweeps + 1)}
        pictures = set(range(config.camera_steps, STEPS_PER_KEYFRAME, config.camera_steps))
        for later in sorted(turns | pictures):
            geometry = self._world.geometry(keyframe + later)
            if later in pictures:
                self._pictures(geometry, self._between_noise, keyframe=False)
            if later in turns:
                self._cloud(geometry, keyframe=False)

    def _pictures(self, geometry: Geometry, noise: np.random.Generator, *, keyframe: bool) -> dict[str, Exposure]:
        """Every camera's picture around the geometry's time step, written, by its file below the data root."""
        exposures = {}
        for renderer, offset in zip(self._renderers, self._offsets, strict=True):
            fired = geometry.step + offset if abs(offset) > 1e-9 else geometry.step
            there = self._world.geometry(fired) if fired != geometry.step else geometry
            exposure = renderer.render(there, self._world.world_from_ego(fired), noise)
            filename = self.tables.add_sensor(renderer.camera.channel, fired, keyframe=keyframe)
            write_picture(self._config.out / filename, exposure.image)
            exposures[filename] = exposure
        return exposures

    def _cloud(self, geometry: Geometry, *, keyframe: bool) -> np.ndarray:
        """The LiDAR's turn at the geometry's time step, written."""
        cloud = scan(self._world, geometry, self._world.world_from_ego(geometry.step), self._noise)
        filename = self.tables.add_sensor(LIDAR_CHANNEL, geometry.step, keyframe=keyframe)
        write_cloud(self._config.out / filename, cloud)
        return cloud
