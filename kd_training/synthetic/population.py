"""Who and what is in a scene: the ego vehicle, traffic, parked rows, road works, people; nothing overlaps anything.

The mix is nuScenes' with the rare classes made commoner, so that every class can be learnt from few scenes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from kd_training.synthetic.actors import CATEGORY_OF_CLASS, Actor, Motion, Size, overlap, sample_size, still
from kd_training.synthetic.mesh import Mesh
from kd_training.synthetic.people import build_bicycle, build_motorcycle, build_pedestrian
from kd_training.synthetic.roads import CrossRoad, Path, RoadNetwork, turning_path
from kd_training.synthetic.street_objects import build_barrier, build_traffic_cone
from kd_training.synthetic.traffic import DT, Driver, Light, simulate
from kd_training.synthetic.vehicles import build_bus, build_car, build_construction_vehicle, build_trailer, build_truck

EGO_SIZE: Size = (4.6, 1.9, 1.7)
EGO_CENTRE_AHEAD = 1.35  # of the rear axle, metres
PHASES = 8  # of a walking or pedalling cycle
TRAFFIC_MIX = (("car", 0.56), ("truck", 0.1), ("bus", 0.11), ("motorcycle", 0.12), ("trailer", 0.11))  # 'trailer' = lorry with trailer


@dataclass(frozen=True, eq=False)
class Population:
    """The ego's rear axle at every step (xy (K, 2), yaw (K,)) and everything that is annotated."""

    ego: Motion
    actors: tuple[Actor, ...]


class _Crowd:
    """Collects actors and refuses those that would ever touch an earlier one."""

    def __init__(self, rng: np.random.Generator, steps: int, ego: Motion):
        self.rng, self.steps, self.actors = rng, steps, []
        index = np.unique(np.append(np.arange(0, steps, 4), steps - 1))
        self._index = index
        ahead = EGO_CENTRE_AHEAD * np.stack([np.cos(ego.yaw), np.sin(ego.yaw)], -1)
        self._tracks = [((ego.xy + ahead)[index], ego.yaw[index], (EGO_SIZE[0] + 1.0, EGO_SIZE[1] + 0.4, 2.0))]

    def _track(self, motion: Motion, size: Size) -> tuple[np.ndarray, np.ndarray, Size]:
        if len(motion.yaw) == 1:
            return motion.xy, motion.yaw, size
        return motion.xy[self._index], motion.yaw[self._index], size

    def fits(self, motion: Motion, size: Size, margin: float = 0.25) -> bool:
        track = self._track(motion, size)
        return not any(overlap(other, track, margin) for other in self._tracks)

    def add(self, name: str, size: Size, motion: Motion, build: Callable[[np.random.Generator, float], Mesh], at_rest: str, moving: str,
            category: str = "", stride: float = 0.0, margin: float = 0.25) -> bool:
        """Add it if there is room. `build` gets a generator (the same at every call) and the phase (rad) of a cycle of `stride` metres."""
        seed = int(self.rng.integers(2**62))
        if not self.fits(motion, size, margin):
            return False

        @cache
        def phase_mesh(phase: int) -> Mesh:
            return build(np.random.default_rng(seed), phase * 2 * np.pi / PHASES)

        def mesh_at(travelled: float) -> Mesh:
            return phase_mesh(int(travelled / stride * PHASES) % PHASES if stride else 0)

        self._tracks.append(self._track(motion, size))
        self.actors.append(Actor(name, category or CATEGORY_OF_CLASS[name], size, motion, mesh_at, at_rest, moving, stride > 0))
        return True

    def vehicle(self, name: str, motion: Motion, size: Size, parked: bool, margin: float = 0.25) -> bool:
        """A car, truck, bus, trailer or construction vehicle."""
        build = {"car": build_car, "truck": build_truck, "bus": build_bus, "trailer": build_trailer, "construction_vehicle": build_construction_vehicle}[name]
        rest = "vehicle.parked" if parked else "vehicle.stopped"
        return self.add(name, size, motion, lambda rng, phase: build(size, rng), rest, "vehicle.moving", margin=margin)

    def cycle(self, name: str, motion: Motion, rider: bool) -> bool:
        """A bicycle or motorcycle, with or without rider."""
        length, width, height = sample_size(name, self.rng)
        height = height * (1.5 if name == "bicycle" else 1.12) if rider else height * 0.93
        size = (length, width, round(height, 3))
        scooter = self.rng.random() < 0.5
        attribute = "cycle.with_rider" if rider else "cycle.without_rider"
        if name == "bicycle":
            return self.add(name, size, motion, lambda rng, phase: build_bicycle(size, rng, rider, phase), attribute, attribute, stride=4.0 if rider else 0.0)
        return self.add(name, size, motion, lambda rng, phase: build_motorcycle(size, rng, rider, scooter), attribute, attribute)

    def person(self, motion: Motion, pose: str, worker: bool = False) -> bool:
        """A pedestrian 'walking', 'standing' or 'sitting'."""
        length, width, height = sample_size("pedestrian", self.rng)
        category = "human.pedestrian.construction_worker" if worker else "human.pedestrian.adult"
        if not worker and self.rng.random() < 0.07:
            length, width, height, category = length * 0.7, width * 0.7, height * 0.68, "human.pedestrian.child"
        if pose == "sitting":
            height *= 0.75
        size = (round(length, 3), round(width, 3), round(height, 3))
        rest = "pedestrian.sitting_lying_down" if pose == "sitting" else "pedestrian.standing"
        return self.add("pedestrian", size, motion, lambda rng, phase: build_pedestrian(size, rng, phase, pose, worker), rest, "pedestrian.moving",
                        category, stride=1.5 if pose == "walking" else 0.0, margin=0.15)


def _lights(roads: RoadNetwork, rng: np.random.Generator) -> list[Light]:
    lights = []
    for _ in roads.crossings:
        draw = rng.random()
        if draw < 0.45:
            lights.append(Light(-100.0, 100.0))
        elif draw < 0.8:
            lights.append(Light(float(rng.uniform(0.5, 7.0)), 100.0))
        else:
            lights.append(Light(-100.0, float(rng.uniform(-3.0, 6.0))))
    return lights


def _stops(path: Path, roads: RoadNetwork, lights: list[Light], main: bool, crossing: CrossRoad | None = None) -> tuple:
    if main:
        return tuple((path.station_of(roads.main.at(c.s)[0]) - c.half_width - 6.5, light, True) for c, light in zip(roads.crossings, lights, strict=True))
    index = roads.crossings.index(crossing)
    middle = path.station_of(roads.main.at(crossing.s)[0])
    return ((middle - roads.half_width - 6.5, lights[index], False),)


def _ego_driver(roads: RoadNetwork, lights: list[Light], rng: np.random.Generator) -> tuple[Driver, int]:
    """The ego on a lane of the main road, or turning at its first crossing."""
    lane_index = int(rng.integers(roads.lanes))
    draw, first = rng.random(), roads.crossings[0]
    right, left = draw < 0.16, 0.16 <= draw < 0.3
    if right or left:
        lane_index = roads.lanes - 1 if right else 0
    lane = roads.lane(lane_index)
    path, at = lane, lane.station_of(roads.main.at(first.s)[0])
    if right or left:
        target = roads.cross_lane(first, backwards=right)
        joined = target.station_of(lane.at(at)[0])
        path = turning_path(lane, at - first.half_width - 4.5, target, joined + (5.5 if right else roads.half_width + 5.0))
    desired = float(rng.choice((rng.uniform(3, 6), rng.uniform(6, 10), rng.uniform(9, 13)), p=(0.2, 0.45, 0.35)))
    s0 = float(np.clip(at - rng.uniform(2.0, 13.0) * desired, 30, 200))
    return Driver(path, s0, EGO_SIZE[0], desired, _stops(lane, roads, lights, True)), lane_index


def _lane_drivers(path: Path, stops: tuple, around: float, reach: float, gap: float, rng: np.random.Generator, free: tuple[float, float] | None = None) -> list[tuple[str, Driver, list[Size]]]:
    """Vehicles on one lane from around - reach to around + reach, none starting within `free`; each with its kind and the sizes of its units."""
    result, s, speed = [], max(8.0, around - reach), rng.uniform(5, 12)
    names, weights = zip(*TRAFFIC_MIX, strict=True)
    while s < min(path.length - 10, around + reach):
        kind = str(rng.choice(names, p=weights))
        sizes = [sample_size("truck" if kind == "trailer" else kind, rng)]
        if kind == "trailer":
            length = rng.uniform(6.1, 7.2)
            sizes = [(round(length, 3), 2.5, round(rng.uniform(2.9, 3.5), 3)), sample_size("trailer", rng)]
        total = sum(size[0] for size in sizes) + 0.5 * (len(sizes) - 1)
        s += total / 2
        if free is None or s + total / 2 < free[0] or s - total / 2 > free[1]:
            result.append((kind, Driver(path, s, total, float(np.clip(speed + rng.normal(0, 1.5), 3, 15)), stops), sizes))
        s += total / 2 + 4.0 + rng.exponential(gap)
    return result


def _along(path: Path, s: np.ndarray) -> Motion:
    xy, yaw = path.at(s)
    return Motion(xy, yaw)


def _add_driver(crowd: _Crowd, kind: str, driver: Driver, sizes: list[Size]) -> None:
    s, total = np.array(driver.track), driver.length
    if kind in ("motorcycle", "bicycle"):
        crowd.cycle(kind, _along(driver.path, s), rider=True)
        return
    lead = s + total / 2 - sizes[0][0] / 2
    name = "truck" if kind == "trailer" else kind
    motions = [_along(driver.path, lead)]
    if kind == "trailer":
        motions.append(_along(driver.path, s - total / 2 + sizes[1][0] / 2))
        if not crowd.fits(motions[1], sizes[1]):
            return
    if crowd.vehicle(name, motions[0], sizes[0], parked=False) and kind == "trailer":
        crowd.vehicle("trailer", motions[1], sizes[1], parked=False, margin=0.02)


def _parked_rows(crowd: _Crowd, roads: RoadNetwork, span: tuple[float, float], works: list[tuple[float, float, int]]) -> None:
    """Vehicles in the parking strips, cycles between them, and rows on forecourts behind the pavement."""
    rng = crowd.rng
    if roads.parking:
        for side in (-1, 1):
            occupancy, s = rng.uniform(0.25, 0.85), span[0]
            while s < span[1]:
                kind = str(rng.choice(("car", "truck", "motorcycles", "trailer", "bus"), p=(0.78, 0.09, 0.05, 0.05, 0.03)))
                size = sample_size("car" if kind == "motorcycles" else kind, rng)
                centre = s + size[0] / 2
                blocked = any(a - 3 < centre < b + 3 and side == which for a, b, which in works)
                if rng.random() < occupancy and not roads.near_crossing(centre, 3 + size[0] / 2) and not blocked:
                    xy, yaw = roads.main.beside(centre, side * (roads.half_width - roads.parking / 2 + 0.1 + rng.normal(0, 0.08)))
                    direction = yaw + (np.pi if side > 0 else 0) + rng.normal(0, 0.02)
                    if kind == "motorcycles":
                        for i in range(int(rng.integers(2, 5))):
                            spot, along = roads.main.beside(s + 0.6 + 1.05 * i, side * (roads.half_width - roads.parking / 2))
                            crowd.cycle("motorcycle", still(*spot, along + np.pi / 2 + rng.normal(0, 0.1)), rider=False)
                    else:
                        crowd.vehicle(kind, still(*xy, direction), size, parked=True)
                s += size[0] + 0.7 + rng.exponential(0.8)
    for _ in range(int(rng.integers(1, 4))):  # forecourts
        side, at, count = rng.choice((-1, 1)), rng.uniform(*span), int(rng.integers(3, 9))
        kinds = rng.choice(("car", "truck", "construction_vehicle", "trailer", "bus"), p=(0.74, 0.08, 0.06, 0.06, 0.06), size=count)
        for i, kind in enumerate(kinds):
            size = sample_size(str(kind), rng)
            xy, yaw = roads.main.beside(at + 3.1 * i, side * (roads.half_width + roads.sidewalk + 1.5 + size[0] / 2))
            motion = still(*xy, yaw + np.pi / 2 * rng.choice((-1, 1)) + rng.normal(0, 0.04))
            if roads.clearance(xy[None])[0] > roads.sidewalk + size[0] / 2:
                crowd.vehicle(str(kind), motion, size, parked=True)


def _road_works(crowd: _Crowd, roads: RoadNetwork, start: float, side: int) -> tuple[float, float, int]:
    """A closed part of the roadside: cones along a taper, barriers along the traffic, machines and workers inside."""
    rng, length = crowd.rng, float(crowd.rng.uniform(20, 36))
    edge = roads.half_width - (roads.parking or 0.4)
    style, spacing = int(rng.integers(3)), None
    outer = roads.half_width + roads.sidewalk

    def place(s: float, d: float) -> tuple[float, float, float]:
        xy, yaw = roads.main.beside(s, side * d)
        return float(xy[0]), float(xy[1]), float(yaw)

    for i, s in enumerate(np.arange(start - 9, start, 1.8 + rng.random())):
        x, y, yaw = place(s, outer - 1.5 + (edge + 0.4 - outer + 1.5) * (i + 1) / 5)
        size = sample_size("traffic_cone", rng)
        crowd.add("traffic_cone", size, still(x, y, yaw + rng.uniform(-3, 3)), lambda g, _, size=size: build_traffic_cone(size, g), "", "")
    for s in np.arange(start + length, start + length + 6, 2.0 + rng.random()):
        x, y, yaw = place(s, edge + 0.5 + 0.25 * (s - start - length))
        size = sample_size("traffic_cone", rng)
        crowd.add("traffic_cone", size, still(x, y, yaw), lambda g, _, size=size: build_traffic_cone(size, g), "", "")
    width = float(rng.uniform(1.9, 2.8))
    spacing, s = width + (0.05 if rng.random() < 0.5 else 0.6), start + 1.0
    while s < start + length:
        if not roads.near_crossing(s, -3):
            x, y, yaw = place(s, edge + 0.45 + rng.normal(0, 0.04))
            size = (0.45 if style == 2 else 0.62, round(width, 3), round(float(rng.uniform(0.95, 1.15)), 3))
            crowd.add("barrier", size, still(x, y, yaw + np.pi / 2 + rng.normal(0, 0.03)), lambda g, _, size=size: build_barrier(size, style), "", "", margin=0.0)
        s += spacing
    for _ in range(int(rng.integers(1, 3))):
        size = sample_size("construction_vehicle", rng)
        x, y, yaw = place(start + rng.uniform(4, length - 4), edge + 1.2 + size[1] / 2 + rng.uniform(0, 2))
        crowd.vehicle("construction_vehicle", still(x, y, yaw + rng.choice((0, np.pi)) + rng.normal(0, 0.25)), size, parked=True)
    for _ in range(int(rng.integers(1, 4))):
        x, y, yaw = place(start + rng.uniform(1, length), edge + rng.uniform(1.2, 4.5))
        crowd.person(still(x, y, rng.uniform(-np.pi, np.pi)), "standing", worker=True)
    return start - 9, start + length + 6, side


def _people(crowd: _Crowd, roads: RoadNetwork, lights: list[Light], span: tuple[float, float], steps: int) -> None:
    """Walkers on the pavements, people crossing where the light lets them, groups that stand and talk, people on benches."""
    rng, t = crowd.rng, np.arange(steps) * DT
    pavement = (roads.half_width + 0.8, roads.half_width + roads.sidewalk - 0.3)
    for _ in range(int(rng.poisson(13))):
        side, speed = rng.choice((-1, 1)), rng.choice((-1, 1)) * np.clip(rng.normal(1.3, 0.25), 0.6, 2.2)
        xy, yaw = roads.main.beside(rng.uniform(*span) + speed * t, side * rng.uniform(*pavement) + 0.15 * np.sin(0.3 * t + rng.uniform(0, 6)))
        crowd.person(Motion(xy, yaw + (np.pi if speed < 0 else 0)), "walking")
    for crossing, light in zip(roads.crossings, lights, strict=True):
        for _ in range(int(rng.poisson(4))):
            arm, begin, speed = rng.choice((-1, 1)), rng.uniform(-6, 7), np.clip(rng.normal(1.4, 0.2), 0.9, 2.0)
            over_main = rng.random() < 0.5
            reach, station = (roads.half_width, crossing.half_width + 2.5 + rng.uniform(-1, 1)) if over_main else (crossing.half_width, roads.half_width + 2.5 + rng.uniform(-1, 1))
            waits = light.main_green(max(begin, 0)) if over_main else not light.main_green(max(begin, 0))
            d = -(reach + 0.8) + speed * np.clip(t - begin, 0, None) * (not waits)
            d *= rng.choice((-1, 1))
            if over_main:
                xy, yaw = roads.main.beside(np.full(steps, crossing.s + arm * station), d)
            else:
                xy, yaw = crossing.path.beside(np.full(steps, crossing.middle + arm * station), d)
            facing = yaw + (np.pi / 2 if d[-1] > d[0] or (waits and d[0] < 0) else -np.pi / 2)
            crowd.person(Motion(xy, facing), "walking" if not waits else "standing")
    for _ in range(int(rng.poisson(3))):
        centre, yaw = roads.main.beside(rng.uniform(*span), rng.choice((-1, 1)) * rng.uniform(*pavement))
        pose = "sitting" if rng.random() < 0.3 else "standing"
        for angle in rng.uniform(0, 2 * np.pi) + np.arange(int(rng.integers(1, 5))) * 1.7:
            spot = centre + 0.55 * np.array([np.cos(angle), np.sin(angle)])
            crowd.person(still(*spot, angle + np.pi), pose)
    for _ in range(int(rng.poisson(3.2))):  # parked bicycles, mostly in groups
        centre = rng.uniform(*span)
        side, d = rng.choice((-1, 1)), roads.half_width + roads.sidewalk - 0.5
        for i in range(int(rng.integers(1, 4))):
            xy, yaw = roads.main.beside(centre + 0.75 * i, side * d)
            crowd.cycle("bicycle", still(*xy, yaw + np.pi / 2 + rng.normal(0, 0.1)), rider=False)


def populate(roads: RoadNetwork, steps: int, rng: np.random.Generator) -> Population:
    """Fill the road network for `steps` time steps of DT seconds."""
    lights = _lights(roads, rng)
    ego, ego_lane = _ego_driver(roads, lights, rng)
    ego_guess = ego.s + 13 * ego.desired * 0.6
    density = rng.uniform(9, 26)
    lanes: list[list[tuple[str, Driver, list[Size]]]] = []
    for index in range(roads.lanes):
        for backwards in (False, True):
            lane = roads.lane(index, backwards)
            own = index == ego_lane and not backwards
            around = lane.length - ego_guess if backwards else ego_guess
            drivers = _lane_drivers(lane, _stops(lane, roads, lights, True), around, 130, density, rng, (ego.s - 9, ego.s + 12) if own else None)
            lanes.append(drivers + ([("ego", ego, [EGO_SIZE])] if own else []))
    for crossing in roads.crossings:
        for backwards in (False, True):
            lane = roads.cross_lane(crossing, backwards)
            lanes.append(_lane_drivers(lane, _stops(lane, roads, lights, False, crossing), lane.length / 2 - 40, 70, density * 1.2, rng))
    edge = roads.half_width - roads.parking - 0.35
    for side in (-1, 1):  # cyclists at the road's edge
        strip = roads.main.offset(side * edge, side > 0)
        around = ego_guess if side < 0 else strip.length - ego_guess
        lanes.append([("bicycle", Driver(strip, around + rng.uniform(-70, 70), 2.0, float(rng.uniform(3, 7))), []) for _ in range(int(rng.poisson(1.6)))])
    simulate([[driver for _, driver, _ in lane] for lane in lanes], steps)

    xy, yaw = ego.path.at(np.array(ego.track) - EGO_CENTRE_AHEAD)
    crowd = _Crowd(rng, steps, Motion(xy, yaw))
    station = roads.main.station_of(xy[0]), roads.main.station_of(xy[-1])
    span = station[0] - 50, station[1] + 60
    for lane in lanes:
        for kind, driver, sizes in lane:
            if kind != "ego" and np.min(np.linalg.norm(driver.path.at(np.array(driver.track))[0] - xy, axis=1)) < 100:
                _add_driver(crowd, kind, driver, sizes)
    works = []
    for _ in range(int(rng.choice((1, 2), p=(0.6, 0.4)))):
        start = rng.uniform(station[0] - 12, station[1] + 22)
        if not roads.near_crossing(start, 8) and not roads.near_crossing(start + 18, 8):
            works.append(_road_works(crowd, roads, start, int(rng.choice((-1, 1)))))
    _parked_rows(crowd, roads, span, works)
    _people(crowd, roads, lights, span, steps)
    return Population(Motion(xy, yaw), tuple(crowd.actors))
