"""Motion along lanes: the intelligent driver model (Treiber et al., 2000) with traffic lights and slower corners."""

from dataclasses import dataclass, field

import numpy as np

from kd_synthetic.streets.cities import City
from kd_synthetic.streets.roads import DrivePath, RoadNetwork

DT = 0.05  # seconds: one LiDAR turn
WARM_UP = 160  # steps simulated before the recording starts, so that queues and speeds have settled
ACCELERATION, BRAKING, HEADWAY, GAP = 1.5, 2.2, 1.3, 2.2


@dataclass(frozen=True)
class TrafficLight:
    """Green for the main road while green_from <= t < green_to (seconds, recording starts at 0); the crossing road
    has the rest, less 2 s.
    """

    green_from: float
    green_to: float

    def main_green(self, t: float) -> bool:
        """Whether the main road may go at t seconds."""
        return self.green_from <= t < self.green_to

    def cross_green(self, t: float) -> bool:
        """Whether the crossing road may go at t seconds."""
        return not self.green_from - 2.0 <= t < self.green_to + 2.0


@dataclass(frozen=True)
class StopLine:
    """Where a driver on the `main` or the crossing road waits for a light: a station of the driver's path, metres."""

    station: float
    light: TrafficLight
    main: bool

    def green(self, t: float) -> bool:
        """Whether the driver may pass at t seconds."""
        return self.light.main_green(t) if self.main else self.light.cross_green(t)


@dataclass(frozen=True, eq=False)
class Streets:
    """The roads of a city, with one traffic light for each crossing."""

    roads: RoadNetwork
    lights: list[TrafficLight]
    city: City


@dataclass
class Driver:
    """One vehicle (or train of truck and trailer) on its path: s of its centre and its length, both in metres;
    speeds in m/s.
    """

    path: DrivePath
    s: float
    length: float
    desired: float
    stops: tuple[StopLine, ...] = ()
    speed: float = -1.0
    track: list[float] = field(default_factory=list)

    def step(self, t: float, leader_s: float, leader_speed: float) -> None:
        """Advance by DT behind a leader whose rear is at leader_s on the same path."""
        corner = np.sqrt(2.0 / max(self.path.curvature_ahead(self.s), 1e-4))
        desired = max(min(self.desired, corner), 0.5)
        front = self.s + self.length / 2
        gap, closing = leader_s - front, self.speed - leader_speed
        for stop in self.stops:
            ahead = stop.station - front
            if not stop.green(t) and -0.5 < ahead < gap and self._can_stop(ahead):
                gap, closing = ahead + GAP - 0.6, self.speed
        wish = GAP + max(0.0, self.speed * HEADWAY + self.speed * closing / (2 * np.sqrt(ACCELERATION * BRAKING)))
        rate = ACCELERATION * (1 - (self.speed / desired) ** 4 - (wish / max(gap, 0.1)) ** 2)
        speed = max(0.0, self.speed + max(rate, -7.0) * DT)
        self.s += 0.5 * (self.speed + speed) * DT
        self.speed = speed

    def _can_stop(self, distance: float) -> bool:
        return distance > self.speed**2 / (2 * 4.5) - 0.5


def simulate(lanes: list[list[Driver]], steps: int) -> None:
    """Drive every lane's vehicles (any order) for the warm-up and `steps` recorded steps; fills each driver's track
    with s.
    """
    for drivers in lanes:
        drivers.sort(key=lambda driver: -driver.s)
        for driver in drivers:
            if driver.speed < 0:
                driver.speed = 0.8 * driver.desired
        for index in range(-WARM_UP, steps):
            t = index * DT
            if index >= 0:
                for driver in drivers:
                    driver.track.append(driver.s)
            leader_s, leader_speed = 1e6, 30.0
            for driver in drivers:
                driver.step(t, leader_s, leader_speed)
                leader_s, leader_speed = driver.s - driver.length / 2, driver.speed
