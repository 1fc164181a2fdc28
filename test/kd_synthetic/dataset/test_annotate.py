"""One keyframe checked from the inside: whose pixel is whose, and how visibility and points are counted."""

import cv2
import numpy as np
import pytest

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import apply, invert
from kd_synthetic.dataset.annotate import VISIBILITY_EDGES, Annotation, annotate
from kd_synthetic.rendering.camera import CameraRenderer, Exposure
from kd_synthetic.rendering.geometry import Geometry
from kd_synthetic.rendering.lidar import points_in_world, scan
from kd_synthetic.rendering.tracer import TreeTracer
from kd_synthetic.rendering.world import World, build_world

Keyframe = tuple[World, Geometry, list[CameraRenderer], list[Exposure], np.ndarray, list[Annotation]]
STEP = 5


def render_keyframe(rig: str) -> Keyframe:
    world = build_world("test", np.random.SeedSequence(3), STEP + 1, size=(352, 128), rig=rig)
    geometry, rng, pose = world.geometry(STEP), np.random.default_rng(0), world.world_from_ego(STEP)
    renderers = [CameraRenderer(world, camera, 1.0) for camera in world.rig.cameras]
    frames = [renderer.render(geometry, pose, rng) for renderer in renderers]
    cloud = points_in_world(world, pose, scan(world, geometry, pose, rng))
    return world, geometry, renderers, frames, cloud, annotate(world, geometry, pose[:2, 3], frames, cloud)


@pytest.fixture(scope="module")
def keyframe() -> Keyframe:
    return render_keyframe("nuscenes")


@pytest.fixture(scope="module", params=["nuscenes", "fisheye", "distorted"])
def any_keyframe(request: pytest.FixtureRequest, keyframe: Keyframe) -> Keyframe:
    return keyframe if request.param == "nuscenes" else render_keyframe(request.param)


def test_every_pixel_of_an_object_lies_in_its_projected_box(keyframe: Keyframe) -> None:
    world, _, _, frames, _, annotations = keyframe
    checked = 0
    for camera, frame in zip(world.rig.cameras, frames, strict=True):
        camera_from_world = invert(world.world_from_ego(STEP) @ camera.ego_from_camera)
        for annotation in annotations:
            rows, columns = np.nonzero(frame.owner == annotation.actor)
            boxes = Boxes(
                np.array([annotation.centre]),
                np.array([annotation.size]) + 0.02,
                np.array([annotation.yaw]),
                np.zeros((1, 2)),
                np.zeros(1, np.int64),
                np.ones(1),
            )
            corners = apply(camera_from_world, boxes.corners()[0])
            if len(rows) == 0 or corners[:, 2].min() < 0.3:
                continue
            pixel = corners @ camera.intrinsics.T
            hull = cv2.convexHull((pixel[:, :2] / pixel[:, 2:]).astype(np.float32))
            distance = [
                cv2.pointPolygonTest(hull, (float(u), float(v)), measureDist=True)
                for u, v in zip(columns, rows, strict=True)
            ]
            assert min(distance) > -0.05, world.actors[annotation.actor].name
            checked += len(rows)
    assert checked > 2000


def test_nothing_is_annotated_that_no_sensor_sees(keyframe: Keyframe) -> None:
    world, geometry, _, frames, cloud, annotations = keyframe
    assert all(annotation.pixels > 0 or annotation.lidar_points > 0 for annotation in annotations)
    pixels = sum(np.bincount(frame.owner[frame.owner >= 0].ravel(), minlength=len(world.actors)) for frame in frames)
    assert {a.actor: a.pixels for a in annotations} == {a.actor: pixels[a.actor] for a in annotations}
    annotated = {annotation.actor for annotation in annotations}
    for index in set(geometry.slices) - annotated:
        x, y, _ = world.actors[index].motion.at(STEP)
        far = np.hypot(*(np.array((x, y)) - world.ego.at(STEP)[:2])) > 89
        assert far or pixels[index] == 0


def test_visibility_is_that_of_all_pixels(any_keyframe: Keyframe) -> None:
    """The sub-grid's level against the share over every single pixel, away from the levels' edges."""
    world, geometry, renderers, frames, _, annotations = any_keyframe
    pose, checked = world.world_from_ego(STEP), 0
    for annotation in sorted(annotations, key=lambda a: -a.pixels)[:25]:
        tracer = TreeTracer(geometry.mesh.vertices[geometry.slices[annotation.actor]])
        alone = sum(int((tracer.blocked(*renderer.rays(pose)) & ~renderer.blind).sum()) for renderer in renderers)
        share = sum(int((frame.owner == annotation.actor).sum()) for frame in frames) / alone
        assert share <= 1.0
        if min(abs(share - edge) for edge in VISIBILITY_EDGES) > 0.08 and alone > 300:
            assert annotation.visibility == 1 + sum(share > edge for edge in VISIBILITY_EDGES)
            checked += 1
    assert checked >= 5


def test_lidar_points_lie_on_the_objects_they_are_counted_for(keyframe: Keyframe) -> None:
    world, _, _, _, cloud, annotations = keyframe
    heights = cloud[np.linalg.norm(cloud[:, :2] - world.ego.at(STEP)[:2], axis=1) < 15, 2]
    assert np.mean(np.abs(heights) < 0.08) > 0.2  # much of the near field is flat ground
    assert sum(annotation.lidar_points for annotation in annotations) > 300
