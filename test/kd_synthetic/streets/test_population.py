"""Roads, drivers and everything that is annotated: nothing overlaps, all moves plausibly."""

import numpy as np
import pytest
from shapely import STRtree, affinity
from shapely.geometry import box

from kd_perception.geometry.classes import CLASSES
from kd_synthetic.streets.crowd import EGO_CENTRE_AHEAD, EGO_SIZE
from kd_synthetic.streets.population import Population, populate
from kd_synthetic.streets.roads import RoadNetwork, build_roads, path_through
from kd_synthetic.streets.traffic import DT, Driver, StopLine, TrafficLight, simulate

STEPS = 61


@pytest.fixture(scope="module", params=[11, 12, 13])
def scene(request: pytest.FixtureRequest) -> tuple[RoadNetwork, Population]:
    rng = np.random.default_rng(request.param)
    roads = build_roads(rng)
    return roads, populate(roads, STEPS, rng)


def test_nothing_runs_into_anything(scene: tuple[RoadNetwork, Population]) -> None:
    _, population = scene
    for step in range(0, STEPS, 5):
        x, y, yaw = population.ego.at(step)
        centre = (x + EGO_CENTRE_AHEAD * np.cos(yaw), y + EGO_CENTRE_AHEAD * np.sin(yaw), yaw)
        shapes = []
        for (cx, cy, angle), (length, width, _) in [(centre, EGO_SIZE)] + [
            (a.motion.at(step), a.size) for a in population.actors
        ]:
            rectangle = box(-length / 2, -width / 2, length / 2, width / 2)
            shapes.append(
                affinity.translate(affinity.rotate(rectangle, angle, origin=(0, 0), use_radians=True), cx, cy)
            )
        first, second = STRtree(shapes).query(shapes, predicate="intersects")
        touching = [(i, j, shapes[i].intersection(shapes[j]).area) for i, j in zip(first, second, strict=True) if i < j]
        assert all(area < 1e-3 for _, _, area in touching), touching


def test_everything_moves_smoothly_and_forwards(scene: tuple[RoadNetwork, Population]) -> None:
    _, population = scene
    moving = [(actor.name, actor.motion) for actor in population.actors if len(actor.motion.yaw) > 1]
    for name, motion in [("ego", population.ego), *moving]:
        step = np.diff(motion.xy, axis=0)
        length = np.linalg.norm(step, axis=1)
        assert length.max() / DT < 20.0
        if name != "pedestrian":  # people start at once
            assert np.abs(np.diff(length)).max() / DT**2 < 12.0  # m/s2
        going = length > 0.5 * DT
        heading = np.arctan2(step[going, 1], step[going, 0])
        error = (heading - motion.yaw[:-1][going] + np.pi) % (2 * np.pi) - np.pi
        assert np.abs(error).max(initial=0.0) < 0.35


def test_attributes_fit_the_motion(scene: tuple[RoadNetwork, Population]) -> None:
    _, population = scene
    for actor in population.actors:
        for step in (0, 20, STEPS - 1):
            attribute, speed = actor.attribute(step, DT), actor.motion.speed(step, DT)
            if actor.name in ("barrier", "traffic_cone"):
                assert attribute == "" and speed == 0
            elif actor.name in ("motorcycle", "bicycle"):
                assert attribute in ("cycle.with_rider", "cycle.without_rider")
                assert attribute == "cycle.with_rider" or speed == 0
            elif speed > 0.5:
                assert attribute.endswith(".moving")
            elif speed == 0:
                assert not attribute.endswith(".moving")


def test_every_class_occurs_near_the_ego() -> None:
    seen = dict.fromkeys(CLASSES, 0)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        population = populate(build_roads(rng), STEPS, rng)
        for actor in population.actors:
            seen[actor.name] += np.linalg.norm(np.subtract(actor.motion.at(0)[:2], population.ego.at(0)[:2])) < 50
    assert min(seen.values()) >= 3, seen


def straight_driver(s: float, desired: float, stops: tuple = ()) -> Driver:
    road = path_through(np.column_stack([np.arange(0, 600, 0.5), np.zeros(1200)]))
    return Driver(road, s, 4.5, desired, stops)


def test_a_driver_stops_at_red_and_goes_at_green() -> None:
    driver = straight_driver(60.0, 9.0, (StopLine(150.0, TrafficLight(6.0, 99.0), main=True),))
    simulate([[driver]], 400)
    track = np.array(driver.track)
    assert track[120] + driver.length / 2 <= 150.5  # still waiting when the light turns green after 6 s
    assert track[-1] > 170.0


def test_followers_keep_their_distance() -> None:
    slow, fast = straight_driver(100.0, 3.0), straight_driver(60.0, 12.0)
    simulate([[fast, slow]], 300)
    gap = np.array(slow.track) - np.array(fast.track) - 4.5
    assert gap.min() > 1.0
    assert (np.diff(fast.track)[-1] / DT) == pytest.approx(3.0, abs=0.3)


def test_paths_measure_metres() -> None:
    angle = np.linspace(0, np.pi / 2, 2000)
    arc = path_through(40.0 * np.column_stack([np.sin(angle), 1 - np.cos(angle)]))
    assert arc.length == pytest.approx(20 * np.pi, abs=0.6)
    assert arc.curvature_ahead(20.0) == pytest.approx(1 / 40, rel=0.05)
    left, heading = arc.pose_at(30.0, 2.0)
    assert np.linalg.norm(left - (0, 40)) == pytest.approx(38.0, abs=0.05)
    assert heading == pytest.approx(30 / 40, abs=0.02)
    assert arc.station_of(arc.at(33.0)[0]) == 33.0
