"""Who and what is in a scene: the ego vehicle, traffic, parked rows, road works, people; nothing overlaps anything.

The mix is nuScenes', with more of the rare classes, so that every class can be learnt from few scenes.
"""

from dataclasses import dataclass

import numpy as np

from kd_synthetic.assets.mesh import Size
from kd_synthetic.streets.actors import Actor, Motion, sample_size
from kd_synthetic.streets.cities import CITY_A, RIGHT, City, Shares
from kd_synthetic.streets.crowd import EGO_CENTRE_AHEAD, EGO_SIZE, Crowd
from kd_synthetic.streets.roads import CrossRoad, DrivePath, RoadNetwork, turning_path
from kd_synthetic.streets.roadside import RoadWorks, add_forecourts, add_parked_rows, add_people, add_road_works
from kd_synthetic.streets.traffic import Driver, StopLine, Streets, TrafficLight, simulate


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


def _main_stops(path: DrivePath, streets: Streets) -> tuple[StopLine, ...]:
    """Stop lines along a path on the main road."""
    roads = streets.roads
    return tuple(
        StopLine(path.station_of(roads.main.at(c.s)[0]) - c.half_width - 6.5, light, main=True)
        for c, light in zip(roads.crossings, streets.lights, strict=True)
    )


def _cross_stops(path: DrivePath, streets: Streets, crossing: CrossRoad) -> tuple[StopLine]:
    """The stop line of a path on a crossing road."""
    roads = streets.roads
    middle = path.station_of(roads.main.at(crossing.s)[0])
    light = streets.lights[roads.crossings.index(crossing)]
    return (StopLine(middle - roads.half_width - 6.5, light, main=False),)


def _ego_driver(streets: Streets, rng: np.random.Generator) -> tuple[Driver, int]:
    """The ego on a lane of the main road, or turning at its first crossing; and the lane's index."""
    roads = streets.roads
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
    return Driver(path, s0, EGO_SIZE[0], desired, _main_stops(lane, streets)), lane_index


@dataclass(frozen=True, eq=False)
class RoadUser:
    """A driver with the kind of vehicle ('trailer': a truck with its trailer; 'ego') and the sizes of its units."""

    kind: str
    driver: Driver
    sizes: tuple[Size, ...] = ()


@dataclass(frozen=True, eq=False)
class _Lane:
    """A lane to fill with traffic from around - reach to around + reach, `gap` metres apart on average, but not on the
    stations that are `reserved`.
    """

    path: DrivePath
    stops: tuple[StopLine, ...]
    around: float
    reach: float
    gap: float
    reserved: tuple[float, float] | None = None

    def road_users(self, mix: Shares, rng: np.random.Generator) -> list[RoadUser]:
        """Vehicles of a mix, from behind to ahead."""
        result, s, speed = [], max(8.0, self.around - self.reach), rng.uniform(5, 12)
        names, weights = zip(*mix, strict=True)
        while s < min(self.path.length - 10, self.around + self.reach):
            kind = str(rng.choice(names, p=weights))
            sizes = (sample_size("truck" if kind == "trailer" else kind, rng),)
            if kind == "trailer":
                length = rng.uniform(6.1, 7.2)
                sizes = ((round(length, 3), 2.5, round(rng.uniform(2.9, 3.5), 3)), sample_size("trailer", rng))
            total = sum(size[0] for size in sizes) + 0.5 * (len(sizes) - 1)
            s += total / 2
            if self.reserved is None or s + total / 2 < self.reserved[0] or s - total / 2 > self.reserved[1]:
                desired = float(np.clip(speed + rng.normal(0, 1.5), 3, 15))
                result.append(RoadUser(kind, Driver(self.path, s, total, desired, self.stops), sizes))
            s += total / 2 + 5.5 + rng.exponential(self.gap)
        return result


def _along(path: DrivePath, s: np.ndarray) -> Motion:
    return Motion(*path.at(s))


def _add_road_user(crowd: Crowd, user: RoadUser) -> None:
    driver, sizes = user.driver, user.sizes
    s, total = np.array(driver.track), driver.length
    if user.kind in ("motorcycle", "bicycle"):
        crowd.cycle(user.kind, _along(driver.path, s), rider=True)
        return
    lead = _along(driver.path, s + total / 2 - sizes[0][0] / 2)
    if user.kind != "trailer":
        crowd.vehicle(user.kind, lead, sizes[0], parked=False)
        return
    trailer = _along(driver.path, s - total / 2 + sizes[1][0] / 2)
    if crowd.fits(trailer, sizes[1]) and crowd.vehicle("truck", lead, sizes[0], parked=False):
        crowd.vehicle("trailer", trailer, sizes[1], parked=False, margin=0.02)


def _lanes(streets: Streets, ego: Driver, ego_lane: int, rng: np.random.Generator) -> list[list[RoadUser]]:
    """All road users by lane: the main road's, the crossings' and the cyclists' at the road's edge; the ego among
    them.
    """
    roads, city = streets.roads, streets.city
    expected = ego.s + 13 * ego.desired * 0.6  # about where the ego is in the middle of the recording
    density = rng.uniform(10, 34)
    lanes: list[list[RoadUser]] = []
    for index in range(roads.lanes):
        for backwards in (False, True):
            path = roads.lane(index, backwards=backwards)
            own = index == ego_lane and not backwards
            around = path.length - expected if backwards else expected
            reserved = (ego.s - 9, ego.s + 12) if own else None
            lane = _Lane(path, _main_stops(path, streets), around, 130, density, reserved)
            lanes.append(lane.road_users(city.traffic, rng) + ([RoadUser("ego", ego)] if own else []))
    for crossing in roads.crossings:
        for backwards in (False, True):
            path = roads.cross_lane(crossing, backwards=backwards)
            lane = _Lane(path, _cross_stops(path, streets, crossing), path.length / 2 - 40, 70, density * 1.2)
            lanes.append(lane.road_users(city.traffic, rng))
    edge = roads.half_width - roads.parking - 0.35
    for side in (-1, 1):
        backwards = side != roads.keep
        strip = roads.main.offset(side * edge, backwards=backwards)
        around = strip.length - expected if backwards else expected
        cyclists = [
            Driver(strip, around + rng.uniform(-70, 70), 2.0, float(rng.uniform(3, 7)))
            for _ in range(int(rng.poisson(city.cyclists)))
        ]
        lanes.append([RoadUser("bicycle", cyclist) for cyclist in cyclists])
    return lanes


def populate(roads: RoadNetwork, steps: int, rng: np.random.Generator, city: City = CITY_A) -> Population:
    """Fill the road network for `steps` time steps of 0.05 s."""
    streets = Streets(roads, _lights(roads, rng), city)
    ego, ego_lane = _ego_driver(streets, rng)
    lanes = _lanes(streets, ego, ego_lane, rng)
    simulate([[user.driver for user in lane] for lane in lanes], steps)

    xy, yaw = ego.path.at(np.array(ego.track) - EGO_CENTRE_AHEAD)
    crowd = Crowd(rng, steps, Motion(xy, yaw))
    station = roads.main.station_of(xy[0]), roads.main.station_of(xy[-1])
    span = station[0] - 50, station[1] + 60
    for user in (user for lane in lanes for user in lane if user.kind != "ego"):
        places = user.driver.path.at(np.array(user.driver.track))[0]
        if np.min(np.linalg.norm(places - xy, axis=1)) < 100:
            _add_road_user(crowd, user)
    works: list[RoadWorks] = []
    wanted = int(rng.choice((1, 2), p=(0.6, 0.4)))
    for _ in range(12):
        start = rng.uniform(min(station) - 16, max(station) + 24)
        if len(works) < wanted and not roads.near_crossing(start, 8) and not roads.near_crossing(start + 18, 8):
            works.append(add_road_works(crowd, roads, start, int(rng.choice((-1, 1)))))
    add_parked_rows(crowd, streets, span, works)
    add_forecourts(crowd, roads, span)
    add_people(crowd, streets, span, steps)
    return Population(Motion(xy, yaw), tuple(crowd.actors))
