"""The road network of one scene: a winding main road, roads that cross it, and the paths vehicles and people follow.

Along a path s is the distance travelled and d the offset to its left, both in metres.
"""

from dataclasses import dataclass

import numpy as np

from kd_synthetic.streets.cities import CITY_A, City

STEP = 0.5  # metres between the points of a path
MAIN_LENGTH = 560.0
CROSS_LENGTH = 150.0  # of each arm


@dataclass(frozen=True, eq=False)
class DrivePath:
    """A smooth curve on the ground: points (N, 2) in world metres at equal distances `STEP`, and their headings
    (N,), continuous.
    """

    points: np.ndarray
    heading: np.ndarray

    @property
    def length(self) -> float:
        """Metres from the first to the last point."""
        return (len(self.points) - 1) * STEP

    def at(self, s: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Points (..., 2) and headings (...) at distances s; straight on beyond the ends."""
        s = np.asarray(s, np.float64)
        inside = np.clip(s, 0.0, self.length)
        grid = np.arange(len(self.points)) * STEP
        heading = np.interp(inside, grid, self.heading)
        xy = np.stack([np.interp(inside, grid, self.points[:, 0]), np.interp(inside, grid, self.points[:, 1])], -1)
        beyond = (s - inside)[..., None]
        return xy + beyond * np.stack([np.cos(heading), np.sin(heading)], -1), heading

    def pose_at(self, s: np.ndarray | float, d: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """As `at`, shifted by d to the left."""
        xy, heading = self.at(s)
        return xy + np.asarray(d)[..., None] * np.stack([-np.sin(heading), np.cos(heading)], -1), heading

    def offset(self, d: float, *, backwards: bool = False) -> "DrivePath":
        """The parallel path d to the left, optionally driven the other way."""
        xy, _ = self.pose_at(np.arange(len(self.points)) * STEP, d)
        return path_through(xy[::-1] if backwards else xy)

    def station_of(self, xy: np.ndarray) -> float:
        """Distance s of the path's point nearest to xy (2,)."""
        return float(np.argmin(np.sum((self.points - xy) ** 2, axis=1))) * STEP

    def curvature_ahead(self, s: float, distance: float = 12.0) -> float:
        """Largest curvature (1/m) over the next `distance` metres."""
        low = int(np.clip(s / STEP, 0, len(self.heading) - 3))
        high = int(np.clip((s + distance) / STEP, low + 2, len(self.heading)))
        return float(np.max(np.abs(np.diff(self.heading[low:high])), initial=0.0) / STEP)


def path_through(xy: np.ndarray) -> DrivePath:
    """The path through densely sampled points (N, 2)."""
    distance = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    count = max(3, int(distance[-1] / STEP) + 1)
    s = np.arange(count) * STEP
    points = np.stack([np.interp(s, distance, xy[:, 0]), np.interp(s, distance, xy[:, 1])], -1)
    delta = np.gradient(points, axis=0)
    return DrivePath(points, np.unwrap(np.arctan2(delta[:, 1], delta[:, 0])))


@dataclass(frozen=True, eq=False)
class CrossRoad:
    """A straight road over the main road at its station s; `path` runs from the main road's right side to its left."""

    s: float
    path: DrivePath
    middle: float  # station of the crossing point on `path`
    half_width: float


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """Main road (lanes a side, lane and parking width, sidewalk width) and its crossings. Traffic keeps to the side
    `keep` (-1 right, 1 left) of a path.
    """

    main: DrivePath
    lanes: int
    lane_width: float
    parking: float
    sidewalk: float
    crossings: tuple[CrossRoad, ...]
    keep: int

    @property
    def half_width(self) -> float:
        """Metres from the middle of the main road to its kerb."""
        return self.lanes * self.lane_width + self.parking

    def lane(self, index: int, *, backwards: bool = False) -> DrivePath:
        """Lane `index` from the centre of the road, forwards or backwards."""
        d = self.keep * (index + 0.5) * self.lane_width
        return self.main.offset(-d if backwards else d, backwards=backwards)

    def cross_lane(self, crossing: CrossRoad, *, backwards: bool) -> DrivePath:
        """The single lane of a crossing road in one direction."""
        d = self.keep * crossing.half_width / 2
        return crossing.path.offset(-d if backwards else d, backwards=backwards)

    def near_crossing(self, s: float, margin: float = 0.0) -> bool:
        """Whether station s of the main road lies within a crossing (with its pedestrian crossings) plus a margin."""
        return any(abs(s - crossing.s) < crossing.half_width + 6.0 + margin for crossing in self.crossings)

    def clearance(self, xy: np.ndarray) -> np.ndarray:
        """Distance (N,) of points (N, 2) to the nearest carriageway edge, negative on it."""
        best = np.full(len(xy), np.inf)
        for path, half in ((self.main, self.half_width), *((c.path, c.half_width) for c in self.crossings)):
            samples = path.points[::4]
            squared = ((xy[:, None] - samples[None]) ** 2).sum(-1)
            best = np.minimum(best, np.sqrt(squared.min(1)) - half)
        return best


def build_roads(rng: np.random.Generator, city: City = CITY_A) -> RoadNetwork:
    """A random road network of a city."""
    return _grid_roads(rng, city) if city.grid else _winding_roads(rng, city)


def _grid_roads(rng: np.random.Generator, city: City) -> RoadNetwork:
    """A straight narrow street with up to seven crossings at right angles."""
    heading = rng.uniform(-np.pi, np.pi)
    s = np.arange(0, MAIN_LENGTH, STEP)[:, None]
    main = path_through(s * np.array([np.cos(heading), np.sin(heading)]) + rng.uniform(600, 1500, 2))
    stations, at = [], rng.uniform(130, 170)
    while at < MAIN_LENGTH - 100 and len(stations) < 7:
        stations.append(float(at))
        at += rng.uniform(48, 74)
    return RoadNetwork(
        main,
        1,
        float(rng.uniform(2.9, 3.3)),
        float(rng.choice((0.0, 2.1), p=(0.2, 0.8))),
        float(rng.uniform(1.9, 2.7)),
        tuple(_crossing(main, station, float(rng.uniform(2.9, 3.4))) for station in stations),
        city.keep,
    )


def _crossing(main: DrivePath, station: float, half_width: float) -> CrossRoad:
    """A straight road over the main road at a station."""
    centre, direction = main.at(station)
    turn = direction + np.pi / 2
    along = np.arange(-CROSS_LENGTH, CROSS_LENGTH + STEP, STEP)
    path = path_through(centre + along[:, None] * np.array([np.cos(turn), np.sin(turn)]))
    return CrossRoad(station, path, CROSS_LENGTH, half_width)


def _winding_roads(rng: np.random.Generator, city: City) -> RoadNetwork:
    """Curves of 60-300 m radius, one to three crossings."""
    stations = [float(rng.uniform(150, 230))]
    while stations[-1] + 90 < MAIN_LENGTH - 120 and len(stations) < 3:
        stations.append(stations[-1] + float(rng.uniform(85, 150)))
    s = np.arange(0, MAIN_LENGTH, STEP)
    curvature, at = np.zeros(len(s)), 0.0
    while at < MAIN_LENGTH:
        span = rng.uniform(30, 80)
        if rng.random() < 0.6:
            curvature[(s >= at) & (s < at + span)] = rng.choice((-1, 1)) / rng.uniform(60, 300)
        at += span
    for station in stations:
        curvature[np.abs(s - station) < 42] = 0.0
    curvature = np.convolve(curvature, np.ones(40) / 40, mode="same")
    heading = np.clip(np.cumsum(curvature) * STEP, -1.2, 1.2) + rng.uniform(-np.pi, np.pi)
    xy = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1) * STEP, axis=0) + rng.uniform(600, 1500, 2)
    main = path_through(xy)
    lane_width = float(rng.uniform(3.2, 3.7))
    crossings = [_crossing(main, station, float(rng.uniform(3.3, 4.2))) for station in stations]
    return RoadNetwork(
        main,
        int(rng.choice((1, 2), p=(0.45, 0.55))),
        lane_width,
        float(rng.choice((0.0, 2.4), p=(0.15, 0.85))),
        float(rng.uniform(2.6, 4.5)),
        tuple(crossings),
        city.keep,
    )


def turning_path(lane: DrivePath, s_leave: float, target: DrivePath, s_join: float) -> DrivePath:
    """Along `lane` to s_leave, round a smooth corner, then along `target` from s_join."""
    start, heading0 = lane.at(s_leave)
    end, heading1 = target.at(s_join)
    reach = 0.55 * np.linalg.norm(end - start)
    t = np.linspace(0, 1, 80)[:, None]
    p1 = start + reach * np.array([np.cos(heading0), np.sin(heading0)])
    p2 = end - reach * np.array([np.cos(heading1), np.sin(heading1)])
    corner = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * end
    before = lane.at(np.arange(0, s_leave, STEP))[0]
    after = target.at(np.arange(s_join + STEP, target.length, STEP))[0]
    return path_through(np.concatenate([before, corner, after]))
