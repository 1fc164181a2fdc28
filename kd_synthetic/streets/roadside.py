"""What stands or walks next to the carriageway: parked rows, road works, people, parked bicycles."""

from dataclasses import dataclass

import numpy as np

from kd_synthetic.assets.street_objects import build_barrier, build_traffic_cone
from kd_synthetic.streets.actors import Motion, sample_size, still
from kd_synthetic.streets.crowd import Crowd, Looks
from kd_synthetic.streets.roads import RoadNetwork
from kd_synthetic.streets.traffic import DT, Streets


@dataclass(frozen=True)
class RoadWorks:
    """A closed part of the roadside: its first and last station and its side (1 left, -1 right)."""

    begin: float
    end: float
    side: int

    def blocks(self, station: float, side: int) -> bool:
        """Whether a parked vehicle at a station would stand in it, or within 3 m of it."""
        return side == self.side and self.begin - 3 < station < self.end + 3


def add_parked_rows(crowd: Crowd, streets: Streets, span: tuple[float, float], works: list[RoadWorks]) -> None:
    """Vehicles in the parking strips, motorcycles between them."""
    rng, roads = crowd.rng, streets.roads
    kinds, shares = zip(*streets.city.parked, strict=True)
    if roads.parking:
        for side in (-1, 1):
            occupancy, s = rng.uniform(0.35, 0.95), span[0]
            while s < span[1]:
                kind = str(rng.choice(kinds, p=shares))
                size = sample_size("car" if kind == "motorcycles" else kind, rng)
                centre = s + size[0] / 2
                blocked = any(each.blocks(centre, side) for each in works)
                if rng.random() < occupancy and not roads.near_crossing(centre, 3 + size[0] / 2) and not blocked:
                    xy, yaw = roads.main.pose_at(
                        centre, side * (roads.half_width - roads.parking / 2 + 0.1 + rng.normal(0, 0.08))
                    )
                    direction = yaw + (0 if side == roads.keep else np.pi) + rng.normal(0, 0.02)
                    if kind == "motorcycles":
                        for i in range(int(rng.integers(2, 5))):
                            spot, along = roads.main.pose_at(
                                s + 0.6 + 1.05 * i, side * (roads.half_width - roads.parking / 2)
                            )
                            crowd.cycle("motorcycle", still(*spot, along + np.pi / 2 + rng.normal(0, 0.1)), rider=False)
                    else:
                        crowd.vehicle(kind, still(*xy, direction), size, parked=True)
                s += size[0] + 0.7 + rng.exponential(0.8)


def add_forecourts(crowd: Crowd, roads: RoadNetwork, span: tuple[float, float]) -> None:
    """Rows of vehicles parked across, on forecourts behind the pavement."""
    rng = crowd.rng
    for _ in range(int(rng.integers(2, 5))):
        side, at, count = rng.choice((-1, 1)), rng.uniform(span[0] + 20, span[1] - 25), int(rng.integers(3, 9))
        kinds = rng.choice(
            ("car", "truck", "construction_vehicle", "trailer", "bus"), p=(0.7, 0.08, 0.1, 0.06, 0.06), size=count
        )
        for i, kind in enumerate(kinds):
            size = sample_size(str(kind), rng)
            xy, yaw = roads.main.pose_at(at + 3.1 * i, side * (roads.half_width + roads.sidewalk + 1.5 + size[0] / 2))
            motion = still(*xy, yaw + np.pi / 2 * rng.choice((-1, 1)) + rng.normal(0, 0.04))
            if roads.clearance(xy[None])[0] > roads.sidewalk + size[0] / 2:
                crowd.vehicle(str(kind), motion, size, parked=True)


def _add_cone(crowd: Crowd, pose: tuple[float, float, float], turn: float) -> None:
    """A cone, turned at random by up to `turn` radians."""
    size = sample_size("traffic_cone", crowd.rng)
    x, y, yaw = pose
    motion = still(x, y, yaw + (crowd.rng.uniform(-turn, turn) if turn else 0.0))
    crowd.add(Looks("traffic_cone", lambda rng, _: build_traffic_cone(size, rng)), motion, size)


def _add_barrier(crowd: Crowd, pose: tuple[float, float, float], width: float, style: int) -> None:
    """A barrier whose long side, its width, lies along the road."""
    height = round(float(crowd.rng.uniform(0.95, 1.15)), 3)
    size = (0.45 if style == 2 else 0.62, round(width, 3), height)
    x, y, yaw = pose
    motion = still(x, y, yaw + np.pi / 2 + crowd.rng.normal(0, 0.03))
    crowd.add(Looks("barrier", lambda rng, _: build_barrier(size, style)), motion, size, margin=0.0)


def add_road_works(crowd: Crowd, roads: RoadNetwork, start: float, side: int) -> RoadWorks:
    """A closed part of the roadside from station `start` on: cones along a taper, barriers along the traffic, machines
    and workers inside.
    """
    rng, length = crowd.rng, float(crowd.rng.uniform(20, 36))
    edge, outer = roads.half_width - (roads.parking or 0.4), roads.half_width + roads.sidewalk
    style, end = int(rng.integers(3)), start + length

    def place(s: float, d: float) -> tuple[float, float, float]:
        xy, yaw = roads.main.pose_at(s, side * d)
        return float(xy[0]), float(xy[1]), float(yaw)

    for i, s in enumerate(np.arange(start - 9, start, 1.8 + rng.random())):
        _add_cone(crowd, place(s, outer - 1.5 + (edge + 0.4 - outer + 1.5) * (i + 1) / 5), 3.0)
    for s in np.arange(end, end + 6, 2.0 + rng.random()):
        _add_cone(crowd, place(s, edge + 0.5 + 0.25 * (s - end)), 0.0)
    width = float(rng.uniform(1.9, 2.8))
    spacing, s = width + (0.05 if rng.random() < 0.5 else 0.6), start + 1.0
    while s < end:
        if not roads.near_crossing(s, -3):
            _add_barrier(crowd, place(s, edge + 0.45 + rng.normal(0, 0.04)), width, style)
        s += spacing
    for _ in range(int(rng.integers(1, 3))):
        size = sample_size("construction_vehicle", rng)
        x, y, yaw = place(start + rng.uniform(4, length - 4), edge + 1.2 + size[1] / 2 + rng.uniform(0, 2))
        motion = still(x, y, yaw + rng.choice((0, np.pi)) + rng.normal(0, 0.25))
        crowd.vehicle("construction_vehicle", motion, size, parked=True)
    for _ in range(int(rng.integers(1, 4))):
        x, y, yaw = place(start + rng.uniform(1, length), edge + rng.uniform(1.2, 4.5))
        crowd.person(still(x, y, rng.uniform(-np.pi, np.pi)), "standing", worker=True)
    return RoadWorks(start - 9, end + 6, side)


def _add_walkers(crowd: Crowd, roads: RoadNetwork, span: tuple[float, float], t: np.ndarray, expected: float) -> None:
    rng, pavement = crowd.rng, _pavement(roads)
    for _ in range(int(rng.poisson(expected))):
        side, speed = rng.choice((-1, 1)), rng.choice((-1, 1)) * np.clip(rng.normal(1.3, 0.25), 0.6, 2.2)
        xy, yaw = roads.main.pose_at(
            rng.uniform(*span) + speed * t, side * rng.uniform(*pavement) + 0.15 * np.sin(0.3 * t + rng.uniform(0, 6))
        )
        crowd.person(Motion(xy, yaw + (np.pi if speed < 0 else 0)), "walking")


def _add_crossing_people(crowd: Crowd, streets: Streets, t: np.ndarray) -> None:
    rng, roads, steps = crowd.rng, streets.roads, len(t)
    for crossing, light in zip(roads.crossings, streets.lights, strict=True):
        for _ in range(int(rng.poisson(4))):
            arm, begin, speed = rng.choice((-1, 1)), rng.uniform(-6, 7), np.clip(rng.normal(1.4, 0.2), 0.9, 2.0)
            over_main = rng.random() < 0.5
            reach, station = (
                (roads.half_width, crossing.half_width + 2.5 + rng.uniform(-1, 1))
                if over_main
                else (crossing.half_width, roads.half_width + 2.5 + rng.uniform(-1, 1))
            )
            waits = light.main_green(max(begin, 0)) == over_main
            d = -(reach + 0.8) + speed * np.clip(t - begin, 0, None) * (not waits)
            d *= rng.choice((-1, 1))
            if over_main:
                xy, yaw = roads.main.pose_at(np.full(steps, crossing.s + arm * station), d)
            else:
                xy, yaw = crossing.path.pose_at(np.full(steps, crossing.middle + arm * station), d)
            facing = yaw + (np.pi / 2 if d[-1] > d[0] or (waits and d[0] < 0) else -np.pi / 2)
            crowd.person(Motion(xy, facing), "walking" if not waits else "standing")


def _add_groups(crowd: Crowd, roads: RoadNetwork, span: tuple[float, float]) -> None:
    rng, pavement = crowd.rng, _pavement(roads)
    for _ in range(int(rng.poisson(3))):
        centre, yaw = roads.main.pose_at(rng.uniform(*span), rng.choice((-1, 1)) * rng.uniform(*pavement))
        pose = "sitting" if rng.random() < 0.3 else "standing"
        for angle in rng.uniform(0, 2 * np.pi) + np.arange(int(rng.integers(1, 5))) * 1.7:
            spot = centre + 0.55 * np.array([np.cos(angle), np.sin(angle)])
            crowd.person(still(*spot, angle + np.pi), pose)


def _add_parked_bicycles(crowd: Crowd, roads: RoadNetwork, span: tuple[float, float], expected: float) -> None:
    rng = crowd.rng
    for _ in range(int(rng.poisson(expected))):
        centre = rng.uniform(*span)
        side, d = rng.choice((-1, 1)), roads.half_width + roads.sidewalk - 0.5
        for i in range(int(rng.integers(1, 4))):
            xy, yaw = roads.main.pose_at(centre + 0.75 * i, side * d)
            crowd.cycle("bicycle", still(*xy, yaw + np.pi / 2 + rng.normal(0, 0.1)), rider=False)


def _pavement(roads: RoadNetwork) -> tuple[float, float]:
    """Offsets between which people walk."""
    return roads.half_width + 0.8, roads.half_width + roads.sidewalk - 0.3


def add_people(crowd: Crowd, streets: Streets, span: tuple[float, float], steps: int) -> None:
    """Walkers on the pavements, people who cross where lights let them, groups that stand or sit, parked bicycles."""
    t, roads = np.arange(steps) * DT, streets.roads
    _add_walkers(crowd, roads, span, t, streets.city.walkers)
    _add_crossing_people(crowd, streets, t)
    _add_groups(crowd, roads, span)
    _add_parked_bicycles(crowd, roads, span, streets.city.parked_bicycles)
