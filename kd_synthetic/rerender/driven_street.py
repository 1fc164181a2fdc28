"""A street made up around where real vehicles drove and stood: asphalt where they were, pavement around it, houses,
trees and lamps where no traffic was.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from kd_synthetic.assets.furniture import LAMP_HEIGHT, LAMP_REACH, lamp_post
from kd_synthetic.assets.mesh import join
from kd_synthetic.streets.cities import City
from kd_synthetic.streets.ground import MARGIN, TEXEL, GroundMap, Painter, gamma_bytes, surface, weathered_map
from kd_synthetic.streets.roads import DrivePath, RoadNetwork, path_through
from kd_synthetic.streets.scenery import Scenery, Site

CELL = 0.25  # metres of the asphalt map
REACH = 150.0  # metres mapped around the ego's way, and driven on straight at both ends
LANE, HALF_WIDTH = 3.6, 5.6
PAVEMENT = 3.0
ASPHALT_MARGIN = 1.3  # metres of asphalt around a vehicle
ROWS = 5  # of houses, one behind the other: the first that is free is built


@dataclass(frozen=True, eq=False)
class TrafficFootprints:
    """Where objects stood at any keyframe: rectangles (N, 4, 2) of vehicles, which of them were parked (N,) and their
    headings (N,); and points (M, 2) where anything at all was.
    """

    vehicles: np.ndarray
    parked: np.ndarray
    heading: np.ndarray
    taken: np.ndarray


@dataclass(frozen=True, eq=False)
class DrivenStreet(RoadNetwork):
    """One road along the ego's way, widened to all asphalt that is needed: signed `distance` (H, W) to its edge."""

    origin: np.ndarray
    asphalt: np.ndarray  # (H, W) uint8
    distance: np.ndarray  # metres, negative on the asphalt

    def clearance(self, xy: np.ndarray) -> np.ndarray:
        """See RoadNetwork."""
        cell = np.floor((xy - self.origin) / CELL).astype(int)
        height, width = self.distance.shape
        x, y = np.clip(cell[:, 0], 0, width - 1), np.clip(cell[:, 1], 0, height - 1)
        return self.distance[y, x]


def driven_path(way: np.ndarray, yaw: np.ndarray) -> DrivePath:
    """A smooth path through an ego's positions (K, 2), straight on at both ends."""
    moved = np.concatenate([[True], np.linalg.norm(np.diff(way, axis=0), axis=1) > 0.05])
    points = way[moved]
    ends = []
    for end, angle, sign in ((points[0], yaw[0], -1.0), (points[-1], yaw[-1], 1.0)):
        reach = np.arange(1.0, REACH)[:, None] * sign * np.array((np.cos(angle), np.sin(angle)))
        ends.append(end + (reach[::-1] if sign < 0 else reach))
    path = path_through(np.concatenate([ends[0], points, ends[1]]))
    kernel = np.ones(9) / 9.0
    smooth = np.stack([np.convolve(np.pad(path.points[:, i], 4, mode="edge"), kernel, "valid") for i in (0, 1)], -1)
    return path_through(smooth)


def driven_street(way: np.ndarray, yaw: np.ndarray, footprints: TrafficFootprints, keep: int) -> DrivenStreet:
    """The street around an ego's way (K, 2) with headings (K,), and around all vehicles near it."""
    main = driven_path(way, yaw)
    origin = way.min(0) - REACH
    width, height = np.ceil((way.max(0) + REACH - origin) / CELL).astype(int)
    asphalt = np.zeros((height, width), np.uint8)

    def pixels(xy: np.ndarray) -> np.ndarray:
        return np.round((xy - origin) / CELL).astype(np.int32)

    thickness = round(2 * HALF_WIDTH / CELL)
    cv2.polylines(asphalt, [pixels(main.points)], isClosed=False, color=1, thickness=thickness)
    stood = np.zeros_like(asphalt)
    for corners in footprints.vehicles:
        cv2.fillConvexPoly(stood, pixels(corners), 1)
    asphalt |= cv2.dilate(stood, _disc(ASPHALT_MARGIN))
    asphalt = cv2.morphologyEx(asphalt, cv2.MORPH_CLOSE, _disc(4.0))
    asphalt = cv2.morphologyEx(asphalt, cv2.MORPH_OPEN, _disc(1.5))
    outside = cv2.distanceTransform(1 - asphalt, cv2.DIST_L2, 5) * CELL
    inside = cv2.distanceTransform(asphalt, cv2.DIST_L2, 5) * CELL
    return DrivenStreet(main, 1, LANE, HALF_WIDTH - LANE, PAVEMENT, (), keep, origin, asphalt, outside - inside)


def _disc(radius: float) -> np.ndarray:
    size = 2 * round(radius / CELL) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def paint_driven_ground(
    street: DrivenStreet, way: np.ndarray, footprints: TrafficFootprints, rng: np.random.Generator, city: City
) -> GroundMap:
    """The ground around the ego's way (K, 2): asphalt, kerbs, pavement, lane marks, bays of parked vehicles."""
    low, high = way.min(0) - MARGIN, way.max(0) + MARGIN
    shape = tuple(int(value) for value in np.ceil((high - low)[::-1] / TEXEL))
    paint = Painter(low, surface(shape, rng, green=rng.random() < city.grass))
    asphalt = np.array(city.asphalt_tint) * rng.uniform(*city.asphalt)
    pavement = np.array(city.pavement_tint) * rng.uniform(0.2, 0.36)
    matrix = np.array([[TEXEL / CELL, 0, (low[0] - street.origin[0]) / CELL - 0.5],
                       [0, TEXEL / CELL, (low[1] - street.origin[1]) / CELL - 0.5]])  # fmt: skip
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    smooth = cv2.GaussianBlur(street.distance.astype(np.float32), (0, 0), 2.0)
    distance = cv2.warpAffine(smooth, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    for limit, colour in (
        (PAVEMENT, pavement),
        (PAVEMENT - 0.15, pavement * 0.93),
        (0.22, pavement * 1.3),
        (0.0, asphalt),
    ):
        paint.image[distance < limit] = gamma_bytes(colour)
    fade = rng.uniform(0.75, 1.0)
    white = tuple(0.6 * fade * np.ones(3))
    bays = _bays(footprints, street)
    for line in bays:
        paint.polygon(line, white)
    along = (20.0, street.main.length - 20.0)
    for d in (LANE / 2, -LANE / 2):
        paint.dashes(street.main, along, d, white, (3.0, 6.0))
    for _ in range(40):
        s, d = rng.uniform(*along), rng.uniform(-HALF_WIDTH, HALF_WIDTH - 1)
        tone = asphalt * rng.uniform(0.7, 1.25)
        paint.band(street.main, (s, s + rng.uniform(0.8, 9)), (d, d + rng.uniform(0.5, 1.8)), tuple(tone))
    return weathered_map(paint.image, low, rng)


def _bays(footprints: TrafficFootprints, street: DrivenStreet) -> list[np.ndarray]:
    """White lines (4, 2) on both long sides of every vehicle that is parked across the road."""
    lines = []
    for corners, parked, heading in zip(footprints.vehicles, footprints.parked, footprints.heading, strict=True):
        centre = corners.mean(0)
        along = street.main.at(street.main.station_of(centre))[1]
        if not parked or abs(np.sin(heading - along)) < 0.35:
            continue
        ahead = np.array((np.cos(heading), np.sin(heading)))
        left = np.array((-ahead[1], ahead[0]))
        length, width = np.ptp(corners @ ahead), np.ptp(corners @ left)
        for side in (-1, 1):
            a = centre + side * (width / 2 + 0.3) * left
            rear, front = a - (length / 2 + 0.3) * ahead, a + (length / 2 + 0.1) * ahead
            half = 0.05 * left
            lines.append(np.array([rear - half, front - half, front + half, rear + half]))
    return lines


def build_driven_scenery(
    street: DrivenStreet, way: np.ndarray, footprints: TrafficFootprints, rng: np.random.Generator, city: City
) -> Scenery:
    """Houses, trees, signs and lamps along the ego's way (K, 2), clear of all asphalt and of everybody."""
    site = Site(street, footprints.taken, rng, replace(city, rows=ROWS, urban=1.0))
    main = street.main
    low, high = main.station_of(way[0]) - 110, main.station_of(way[-1]) + 110
    for side in (-1, 1):
        for row in range(ROWS):
            site.add_houses(main, low, high, HALF_WIDTH + 9.0 * row, side)
        for at in np.arange(low, high, city.lamp_spacing):
            _add_lamp(site, street, at, side)
        for half in (HALF_WIDTH, HALF_WIDTH + 8.0, HALF_WIDTH + 18.0):
            site.add_greenery_and_furniture(main, low, high, half, side)
    return Scenery(join(site.parts), np.array(site.lamps).reshape(-1, 3))


def _add_lamp(site: Site, street: DrivenStreet, at: float, side: int) -> None:
    """A street lamp at the free kerb nearest to a station."""
    offsets = np.arange(HALF_WIDTH, HALF_WIDTH + 25.0, 0.4)
    xy, yaw = street.main.pose_at(np.full(len(offsets), at), side * offsets)
    fitting = np.flatnonzero((street.clearance(xy) > 0.4) & (street.clearance(xy) < 2.0))
    place = next((xy[i] for i in fitting if site.free(xy[i], 1.5)), None)
    if place is not None:
        turn = float(yaw[0] - side * np.pi / 2)
        site.parts.append(lamp_post(LAMP_REACH).moved(*place, turn))
        site.lamps.append((*(place + LAMP_REACH * np.array((np.cos(turn), np.sin(turn)))), LAMP_HEIGHT))
