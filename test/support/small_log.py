"""A small drive past painted cars, as plain geometry in global: what the makers of logs of several formats write, and
whether a data set that was imported shows the same.

Ego stands on the road. Three cars are parked, three drive along their headings; each has a colour of its own.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from kd_perception.datasets.nuscenes import (
    annotations,
    ego_pose,
    load_frame,
    read_lidar,
    scene_samples,
    sensor_transform,
)
from kd_perception.geometry.box_geometry import count_points_in_boxes
from kd_perception.geometry.transforms import apply, invert

START_US = 1_700_000_000_000_000
STEP_US, EXPOSED_US = 100_000, 20_000  # between sweeps, and from a sweep to the pictures
SWEEPS = 12
WIDTH, HEIGHT, FOCAL = 320, 240, 160.0
K = np.array([[FOCAL, 0.0, 158.0], [0.0, FOCAL, 121.0], [0.0, 0.0, 1.0]])  # pixel centres on integers
ROAD = 20.0  # metres above the origin of global
SPEED = 5.0  # m/s
POINTS = 40  # in each box


@dataclass(frozen=True)
class PaintedCar:
    """A box on the road: where it is at the start (metres from ego's start), heading in global, speed, BGR colour."""

    name: str
    place: tuple[float, float]
    heading: float
    speed: float
    color: tuple[int, int, int]

    @property
    def size(self):
        """Length, width, height."""
        return np.array([4.4, 1.9, 1.6])

    def center(self, seconds):
        """Geometric centre in global."""
        x, y = self.place
        along = self.speed * seconds * np.array([np.cos(self.heading), np.sin(self.heading)])
        return np.array([800.0 + x + along[0], 300.0 + y + along[1], ROAD + 0.8])

    def corners(self, seconds):
        """Its eight corners (8, 3) in global."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        return self.center(seconds) + (signs * self.size / 2) @ turned(self.heading).T


CARS = (
    PaintedCar("parked ahead", (14.0, 2.5), 0.9, 0.0, (0, 0, 255)),
    PaintedCar("parked left", (-4.0, 13.0), 2.0, 0.0, (0, 255, 0)),
    PaintedCar("parked right", (5.0, -13.0), -0.4, 0.0, (255, 0, 0)),
    PaintedCar("driven behind", (-22.0, -9.0), 0.6, SPEED, (0, 255, 255)),
    PaintedCar("driven away", (20.0, 14.0), 1.3, SPEED, (255, 0, 255)),
    PaintedCar("driven towards", (28.0, -14.0), 2.6, SPEED, (255, 255, 0)),
)


def turned(yaw):
    """Rotation (3, 3) about z."""
    return np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])


def global_from_ego(seconds):
    """The ego drives at 4 m/s, turning and slightly tilted."""
    pose = np.eye(4)
    cos, sin = np.cos(0.01), np.sin(0.01)
    pose[:3, :3] = turned(0.3 + 0.1 * seconds) @ np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    pose[:3, 3] = [800.0 + 4.0 * seconds, 300.0 + 1.2 * seconds, ROAD]
    return pose


def mounting(yaw, forward=1.5):
    """`ego_from_camera` of a level camera 1.6 m above the road that looks towards `yaw`: right, down, forward."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    transform = np.eye(4)
    transform[:3, :3] = np.array([[sin, 0.0, cos], [-cos, 0.0, sin], [0.0, -1.0, 0.0]])
    transform[:3, 3] = [forward * cos, forward * sin, 1.6]
    return transform


def picture(ego_from_camera, seconds):
    """What a camera sees of the cars (HEIGHT, WIDTH, 3) BGR, by the plain pinhole formula."""
    camera_from_global = np.linalg.inv(global_from_ego(seconds) @ ego_from_camera)
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    seen = []
    for car in CARS:
        local = car.corners(seconds) @ camera_from_global[:3, :3].T + camera_from_global[:3, 3]
        if local[:, 2].min() > 0.5:
            seen.append((local[:, 2].mean(), car, local @ K.T))
    for _, car, projected in sorted(seen, key=lambda entry: -entry[0]):
        pixels = projected[:, :2] / projected[:, 2:]
        hull = cv2.convexHull(pixels.astype(np.float32))
        cv2.fillConvexPoly(image, np.round(hull * 16).astype(np.int32), car.color, shift=4)
    return image


def cloud(seconds):
    """Points (N, 3) in ego: POINTS in each car, and the road around."""
    rng = np.random.default_rng(round(seconds * 10))
    in_cars = [
        car.center(seconds) + (rng.uniform(-0.45, 0.45, (POINTS, 3)) * car.size) @ turned(car.heading).T for car in CARS
    ]
    road = np.column_stack([rng.uniform(760, 840, 800), rng.uniform(260, 340, 800), np.full(800, ROAD - 0.1)])
    return apply(invert(global_from_ego(seconds)), np.concatenate([*in_cars, road]))


def check_agreement(nusc, classes):
    """Assert that boxes lie on the painted cars, hold the points that the tables count, and that cars move as made."""
    (scene,) = nusc.scene
    judged = 0
    for sample in scene_samples(nusc, scene["name"]):
        found = annotations(nusc, sample, classes)
        frame = load_frame(nusc, sample)
        assert len(found.boxes) == len(CARS)
        in_cloud = [
            apply(frame_pose @ sensor_transform(nusc, row), read_lidar(nusc, row)[:, :3].astype(np.float64))
            for row, frame_pose in _lidars(nusc, sample)
        ]
        boxes = found.boxes
        counts = count_points_in_boxes(np.concatenate(in_cloud), boxes.center, boxes.size, boxes.yaw)
        np.testing.assert_array_equal(counts, found.points)
        assert (counts == POINTS).all()
        np.testing.assert_allclose(np.hypot(*boxes.velocity.T), [car.speed for car in CARS], atol=0.1)
        for image in frame.images:
            judged += _check_picture(image, boxes)
    assert judged >= 6


def _lidars(nusc, sample):
    return [(row, ego_pose(nusc, row)) for row in nusc.rig_of(sample).lidar_rows(nusc, sample)]


def _check_picture(image, boxes):
    """Parked cars that are whole in a picture: their corners bound what is painted."""
    bgr, judged = cv2.imdecode(np.frombuffer(image.read(), np.uint8), cv2.IMREAD_COLOR).astype(int), 0
    for car, corners in zip(CARS, boxes.corners(), strict=True):
        painted = np.argwhere(np.abs(bgr - car.color).max(axis=2) < 60)[:, ::-1]
        if car.speed or len(painted) < 100:
            continue
        low, high = painted.min(axis=0), painted.max(axis=0)
        if (low <= 1).any() or (high >= [WIDTH - 2, HEIGHT - 2]).any():
            continue
        pixels, _, _ = image.camera.project(apply(invert(image.global_from_ego), corners))
        np.testing.assert_allclose([pixels.min(axis=0), pixels.max(axis=0)], [low, high + 1], atol=2.0)
        judged += 1
    return judged
