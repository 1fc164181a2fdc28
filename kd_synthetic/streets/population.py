"""Who and what is in a scene: the ego vehicle, traffic, parked rows, road works, people; nothing overlaps anything.

The mix is nuScenes' with the rare classes made commoner, so that every class can be learnt from few scenes.
"""

from dataclasses import dataclass

import numpy as np

from kd_synthetic.assets.mesh import Size
from kd_synthetic.streets.actors import Actor, Motion, sample_size
from kd_synthetic.streets.cities import CITY_A, RIGHT, City, Shares
from kd_synthetic.streets.crowd import EGO_CENTRE_AHEAD, EGO_SIZE, Crowd
from kd_synthetic.streets.roads import CrossRoad, DrivePath, RoadNetwork, turning_path
from kd_synthetic.streets.roadside import add_forecourts, add_parked_rows, add_people, add_road_works
from kd_synthetic.streets.traffic import Driver, TrafficLight, simulate


@dataclass(frozen=True, eq=False)
class Population:
    """The ego's rear axle at every step (xy (K, 2), yaw (K,)) and everything that is annotated."""

    ego: Motion
    actors: tuple[Actor, ...]


def _lights(roads: RoadNetwork, rng: np.random.Generator) -> list[TrafficLight]:
    lights = []
    for _ in roads.crossings:
        draw = rng.random()
        if draw < 0.55:
            lights.append(TrafficLight(-100.0, 100.0))
        elif draw < 0.84:
            lights.append(TrafficLight(float(rng.uniform(0.5, 7.0)), 100.0))
        else:
            lights.append(TrafficLight(-100.0, float(rng.uniform(-3.0, 6.0))))
    return lights


def _stops(
    path: DrivePath, roads: RoadNetwork, lights: list[TrafficLight], main: bool, crossing: CrossRoad | None = None
) -> tuple:
    if main:
        return tuple(
            (path.station_of(roads.main.at(c.s)[0]) - c.half_width - 6.5, light, True)
            for c, light in zip(roads.crossings, lights, strict=True)
        )
    index = roads.crossings.index(crossing)
    middle = path.station_of(roads.main.at(crossing.s)[0])
    return ((middle - roads.half_width - 6.5, lights[index], False),)


def _ego_driver(roads: RoadNetwork, lights: list[TrafficLight], rng: np.random.Generator) -> tuple[Driver, int]:
    """The ego on a lane of the main road, or turning at its first crossing."""
    lane_index = int(rng.integers(roads.lanes))
    draw, first = rng.random(), roads.crossings[0]
    near, far = draw < 0.16, 0.16 <= draw < 0.3  # a turn that stays on its side, or crosses the other one's lanes
    if near or far:
        lane_index = roads.lanes - 1 if near else 0
    lane = roads.lane(lane_index)
    path, at = lane, lane.station_of(roads.main.at(first.s)[0])
    if near or far:
        target = roads.cross_lane(first, backwards=near if roads.keep == RIGHT else far)
        joined = target.station_of(lane.at(at)[0])
        path = turning_path(
            lane, at - first.half_width - 4.5, target, joined + (5.5 if near else roads.half_width + 5.0)
        )
    desired = float(rng.choice((rng.uniform(3, 6), rng.uniform(6, 10), rng.uniform(9, 13)), p=(0.2, 0.45, 0.35)))
    s0 = float(np.clip(at - rng.uniform(2.0, 13.0) * desired, 30, 200))
    return Driver(path, s0, EGO_SIZE[0], desired, _stops(lane, roads, lights, True)), lane_index


def _lane_drivers(
    path: DrivePath,
    stops: tuple,
    around: float,
    reach: float,
    gap: float,
    rng: np.random.Generator,
    mix: Shares,
    free: tuple[float, float] | None = None,
) -> list[tuple[str, Driver, list[Size]]]:
    """Vehicles on one lane from around - reach to around + reach, none starting within `free`; each with its kind
    and the sizes of its units.
    """
    result, s, speed = [], max(8.0, around - reach), rng.uniform(5, 12)
    names, weights = zip(*mix, strict=True)
    while s < min(path.length - 10, around + reach):
        kind = str(rng.choice(names, p=weights))
        sizes = [sample_size("truck" if kind == "trailer" else kind, rng)]
        if kind == "trailer":
            length = rng.uniform(6.1, 7.2)
            sizes = [(round(length, 3), 2.5, round(rng.uniform(2.9, 3.5), 3)), sample_size("trailer", rng)]
        total = sum(size[0] for size in sizes) + 0.5 * (len(sizes) - 1)
        s += total / 2
        if free is None or s + total / 2 < free[0] or s - total / 2 > free[1]:
            result.append(
                (kind, Driver(path, s, total, float(np.clip(speed + rng.normal(0, 1.5), 3, 15)), stops), sizes)
            )
        s += total / 2 + 5.5 + rng.exponential(gap)
    return result


def _along(path: DrivePath, s: np.ndarray) -> Motion:
    xy, yaw = path.at(s)
    return Motion(xy, yaw)


def _add_driver(crowd: Crowd, kind: str, driver: Driver, sizes: list[Size]) -> None:
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


def _lanes(
    roads: RoadNetwork, lights: list[TrafficLight], ego: Driver, ego_lane: int, rng: np.random.Generator, city: City
) -> list[list[tuple[str, Driver, list[Size]]]]:
    """All drivers by lane: the main road's, the crossings' and the cyclists' at the road's edge; the ego among them."""
    expected = ego.s + 13 * ego.desired * 0.6  # about where the ego is in the middle of the recording
    density = rng.uniform(10, 34)
    lanes: list[list[tuple[str, Driver, list[Size]]]] = []
    for index in range(roads.lanes):
        for backwards in (False, True):
            lane = roads.lane(index, backwards)
            own = index == ego_lane and not backwards
            around = lane.length - expected if backwards else expected
            free = (ego.s - 9, ego.s + 12) if own else None
            drivers = _lane_drivers(
                lane, _stops(lane, roads, lights, True), around, 130, density, rng, city.traffic, free
            )
            lanes.append(drivers + ([("ego", ego, [EGO_SIZE])] if own else []))
    for crossing in roads.crossings:
        for backwards in (False, True):
            lane = roads.cross_lane(crossing, backwards)
            stops = _stops(lane, roads, lights, False, crossing)
            lanes.append(_lane_drivers(lane, stops, lane.length / 2 - 40, 70, density * 1.2, rng, city.traffic))
    edge = roads.half_width - roads.parking - 0.35
    for side in (-1, 1):
        backwards = side != roads.keep
        strip = roads.main.offset(side * edge, backwards)
        around = strip.length - expected if backwards else expected
        cyclists = [
            Driver(strip, around + rng.uniform(-70, 70), 2.0, float(rng.uniform(3, 7)))
            for _ in range(int(rng.poisson(city.cyclists)))
        ]
        lanes.append([("bicycle", cyclist, []) for cyclist in cyclists])
    return lanes


def populate(roads: RoadNetwork, steps: int, rng: np.random.Generator, city: City = CITY_A) -> Population:
    """Fill the road network for `steps` time steps of 0.05 s."""
    lights = _lights(roads, rng)
    ego, ego_lane = _ego_driver(roads, lights, rng)
    lanes = _lanes(roads, lights, ego, ego_lane, rng, city)
    simulate([[driver for _, driver, _ in lane] for lane in lanes], steps)

    xy, yaw = ego.path.at(np.array(ego.track) - EGO_CENTRE_AHEAD)
    crowd = Crowd(rng, steps, Motion(xy, yaw))
    station = roads.main.station_of(xy[0]), roads.main.station_of(xy[-1])
    span = station[0] - 50, station[1] + 60
    for lane in lanes:
        for kind, driver, sizes in lane:
            if kind != "ego" and np.min(np.linalg.norm(driver.path.at(np.array(driver.track))[0] - xy, axis=1)) < 100:
                _add_driver(crowd, kind, driver, sizes)
    works: list[tuple[float, float, int]] = []
    wanted = int(rng.choice((1, 2), p=(0.6, 0.4)))
    for _ in range(12):
        start = rng.uniform(min(station) - 16, max(station) + 24)
        if len(works) < wanted and not roads.near_crossing(start, 8) and not roads.near_crossing(start + 18, 8):
            works.append(add_road_works(crowd, roads, start, int(rng.choice((-1, 1)))))
    add_parked_rows(crowd, roads, span, works, city)
    add_forecourts(crowd, roads, span)
    add_people(crowd, roads, lights, span, steps, city)
    return Population(Motion(xy, yaw), tuple(crowd.actors))
