"""Renders one scene into its files: pictures, clouds and what teachers ask for, then the scene file with its rows."""

import json
from dataclasses import astuple
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from kd_perception.atomic import atomic_path, write_text
from kd_perception.datasets.instance_masks import beside, write_depth, write_mask
from kd_synthetic.dataset.annotate import Annotation, Exposure, annotate
from kd_synthetic.dataset.card import Fact
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.tables import SceneTables
from kd_synthetic.rendering.camera import CameraRenderer
from kd_synthetic.rendering.lidar import points_in_world, scan
from kd_synthetic.rendering.sensors import LIDAR_CHANNEL, STEPS_PER_KEYFRAME
from kd_synthetic.rendering.world import Geometry, World, build_world
from kd_synthetic.streets.conditions import Conditions
from kd_synthetic.streets.traffic import DT

JPEG_QUALITY = 90


def render_scene(config: SynthConfig, index: int) -> None:
    """Render and write scene `index`; its scene file comes last, atomically."""
    cv2.setNumThreads(1)
    seed = np.random.SeedSequence(config.seed, spawn_key=(index,))
    for_world, for_noise, for_between = seed.spawn(3)
    steps = (config.frames - 1) * STEPS_PER_KEYFRAME + 1
    name = config.scene_name(index)
    conditions = config.conditions(index)
    world = build_world(name, for_world, steps, config.width, config.height, config.rig, conditions)
    writer = _SceneWriter(
        config,
        index,
        world,
        conditions,
        np.random.default_rng(for_noise),
        np.random.default_rng(for_between),
    )
    for frame in range(config.frames):
        writer.keyframe(frame * STEPS_PER_KEYFRAME)
        if frame < config.frames - 1:
            writer.between(frame * STEPS_PER_KEYFRAME)
    write_text(
        config.scene_file(index),
        json.dumps({"content": config.content, "tables": writer.tables.finish(), "facts": writer.facts}),
    )


class _SceneWriter:
    """Renders and writes one instant after the other. Pictures between keyframes have noise of their own, so that
    keyframes are the same with and without them.
    """

    def __init__(
        self,
        config: SynthConfig,
        index: int,
        world: World,
        conditions: Conditions,
        noise: np.random.Generator,
        between_noise: np.random.Generator,
    ) -> None:
        self._config, self._world, self._noise, self._between_noise = config, world, noise, between_noise
        self._renderers = [
            CameraRenderer(world, camera, float(gain))
            for camera, gain in zip(world.rig.cameras, world.camera_gain, strict=False)
        ]
        spread = config.camera_spread_ms / 1000.0
        self._offsets = [camera.firing_offset(spread) / DT for camera in world.rig.cameras]
        self.tables = SceneTables(world, index, config.seed, conditions)
        self.facts: list[list[tuple]] = []

    def keyframe(self, step: int) -> None:
        """Pictures, cloud and annotations of the keyframe at a time step."""
        world = self._world
        self.tables.add_sample(step)
        geometry = world.geometry(step)
        views, files = self._views(geometry, step, self._noise, keyframe=True)
        cloud = self._cloud(geometry, step, keyframe=True)
        pose = world.world_from_ego(step)
        annotations = annotate(world, geometry, step, pose[:2, 3], views, points_in_world(world, pose, cloud))
        self.tables.add_annotations(annotations)
        for view, filename in zip(views, files, strict=True):
            self._write_for_teachers(view, filename)
        self.facts.append([astuple(_fact(world, step, annotation)) for annotation in annotations])

    def between(self, keyframe: int) -> None:
        """LiDAR turns and pictures after the keyframe at step `keyframe`, up to the next one."""
        config = self._config
        turns = {round(STEPS_PER_KEYFRAME * i / (config.sweeps + 1)) for i in range(1, config.sweeps + 1)}
        pictures = set(range(config.camera_steps, STEPS_PER_KEYFRAME, config.camera_steps))
        for later in sorted(turns | pictures):
            step = keyframe + later
            geometry = self._world.geometry(step)
            if later in pictures:
                self._views(geometry, step, self._between_noise, keyframe=False)
            if later in turns:
                self._cloud(geometry, step, keyframe=False)

    def _views(
        self, geometry: Geometry, step: int, noise: np.random.Generator, keyframe: bool
    ) -> tuple[list[Exposure], list[str]]:
        """Every camera's picture around a time step, written, and its file below the data root."""
        views, files = [], []
        for renderer, offset in zip(self._renderers, self._offsets, strict=True):
            fired = step + offset if abs(offset) > 1e-9 else step
            there = self._world.geometry(fired) if fired != step else geometry
            pose = self._world.world_from_ego(fired)
            views.append(Exposure(renderer, pose, there, renderer.render(there, pose, noise)))
            files.append(self.tables.add_sensor(renderer.camera.channel, fired, keyframe))
            write_jpeg(self._config.out / files[-1], views[-1].frame.image)
        return views, files

    def _write_for_teachers(self, view: Exposure, filename: str) -> None:
        config = self._config
        if config.masks:
            write_mask(beside(config.out, "masks", filename), view.frame.owner, self.tables.annotation_tokens())
        if config.depth:
            write_depth(beside(config.out, "depth", filename), view.frame.distance)

    def _cloud(self, geometry: Geometry, step: int, keyframe: bool) -> np.ndarray:
        """The LiDAR's turn at a time step, written."""
        cloud = scan(self._world, geometry, self._world.world_from_ego(step), self._noise)
        with atomic_path(self._config.out / self.tables.add_sensor(LIDAR_CHANNEL, step, keyframe)) as path:
            path.write_bytes(cloud.astype("<f4").tobytes())
        return cloud


def write_jpeg(target: Path, image: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 RGB."""
    jpeg = simplejpeg.encode_jpeg(image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420")
    with atomic_path(target) as path:
        path.write_bytes(jpeg)


def _fact(world: World, step: int, annotation: Annotation) -> Fact:
    x, y, _ = world.ego.at(step)
    distance = float(np.hypot(annotation.centre[0] - x, annotation.centre[1] - y))
    return Fact(
        world.actors[annotation.actor].name,
        round(distance, 2),
        annotation.lidar_points,
        annotation.visibility,
        round(annotation.speed, 2),
    )
