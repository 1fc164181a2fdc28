"""Cities, hours and weather: what drives where, what is lit, what rain does to the sensors."""

import json
from pathlib import Path

import numpy as np
import pytest

from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate
from kd_synthetic.rendering.camera import CameraRenderer
from kd_synthetic.rendering.geometry import Geometry
from kd_synthetic.rendering.lamp_light import lamp_light
from kd_synthetic.rendering.lamps import HEAD, STREET, TAIL, drives
from kd_synthetic.rendering.lidar import scan
from kd_synthetic.rendering.world import World, build_world
from kd_synthetic.streets.cities import CITY_A, CITY_B
from kd_synthetic.streets.conditions import Conditions
from kd_synthetic.streets.population import populate
from kd_synthetic.streets.roads import build_roads

Scene = tuple[World, Geometry]


def build(light: str, weather: str, city: str = "A") -> Scene:
    conditions = Conditions(city, light, weather)
    world = build_world("test", np.random.SeedSequence(3), 1, size=(352, 128), conditions=conditions)
    return world, world.geometry(0)


@pytest.fixture(scope="module")
def day() -> Scene:
    return build("day", "dry")


@pytest.fixture(scope="module")
def night() -> Scene:
    return build("night", "dry")


@pytest.fixture(scope="module")
def rain() -> Scene:
    return build("day", "rain")


def picture(scene: Scene, camera: int = 0) -> np.ndarray:
    world, geometry = scene
    renderer = CameraRenderer(world, world.rig.cameras[camera], 1.0)
    return renderer.render(geometry, world.world_from_ego(0), np.random.default_rng(0)).image


@pytest.mark.parametrize("city", [CITY_A, CITY_B])
def test_traffic_keeps_to_its_side(city) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        roads = build_roads(rng, city)
        population = populate(roads, 41, rng, city)
        sides = []
        for actor in population.actors:
            x, y, yaw = actor.motion.at(20)
            s = roads.main.station_of(np.array((x, y)))
            centre, heading = roads.main.at(s)
            d = float((np.array((x, y)) - centre) @ (-np.sin(heading), np.cos(heading)))
            along = np.cos(yaw - heading)
            if actor.motion.speed(20, 0.05) > 1.0 and abs(along) > 0.98 and abs(d) < roads.half_width:
                if actor.name in ("car", "truck", "bus", "trailer", "motorcycle", "bicycle"):
                    sides.append(np.sign(d) * np.sign(along) == city.keep)
        assert len(sides) >= 4 and np.mean(sides) > 0.9


def test_cities_differ_in_roads_and_traffic() -> None:
    share, crossings = {}, {}
    for city in (CITY_A, CITY_B):
        names, counts = [], []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            roads = build_roads(rng, city)
            counts.append(len(roads.crossings))
            names += [actor.name for actor in populate(roads, 11, rng, city).actors]
        share[city.name] = np.mean([name in ("motorcycle", "bicycle") for name in names])
        crossings[city.name] = np.mean(counts)
    assert share["B"] > 1.5 * share["A"] and crossings["B"] > 1.5 * crossings["A"]


def test_the_same_seed_is_the_same_traffic_by_night_and_in_rain(day: Scene, night: Scene, rain: Scene) -> None:
    for other in (night, rain):
        assert [a.motion.at(0) for a in other[0].actors] == [a.motion.at(0) for a in day[0].actors]
        np.testing.assert_array_equal(other[0].ground.pyramid.levels[0], day[0].ground.pyramid.levels[0])


def test_lamps_are_lit_after_sunset_only(day: Scene, night: Scene) -> None:
    assert day[1].lamps is None
    lamps, world = night[1].lamps, night[0]
    assert {STREET, HEAD, TAIL} <= set(lamps.kind.tolist())
    driving = sum(drives(world.actors[index]) for index in night[1].slices)
    assert 0 < np.sum(lamps.kind == TAIL) <= 2 * driving
    head = lamps.position[lamps.kind == HEAD]
    assert (head[:, 2] > 0.3).all() and (head[:, 2] < 2.0).all()


def test_lamp_light_falls_off_and_is_shadowed(night: Scene) -> None:
    """Under a street lamp it is brighter than 12 m away from it, and black where a surface looks away."""
    lamps, tracer = night[1].lamps, night[1].tracer
    ego = night[0].to_local(np.append(night[0].ego.xy[0], 0.0))[:2]
    street = lamps.position[(lamps.kind == STREET) & (lamps.position[:, 2] < 100)]
    street = street[np.linalg.norm(street[:, :2] - ego, axis=1) < 60]
    assert len(street) >= 3
    up = np.tile(np.array((0, 0, 1), np.float32), (len(street), 1))
    below = street * np.array((1, 1, 0), np.float32) + np.array((0, 0, 6.5), np.float32)  # above cars and heads
    under = lamp_light(lamps, tracer, below, up).max(1)
    beside = lamp_light(lamps, tracer, below + np.array((9, 9, 0), np.float32), up).max(1)
    assert np.median(under) > 3 * np.median(beside)
    assert lamp_light(lamps, tracer, below, -up).max() < 0.2 * under.max()


def test_night_pictures_are_darker_but_show_something(day: Scene, night: Scene) -> None:
    for camera in (0, 3):
        bright, dark = picture(day, camera).astype(float), picture(night, camera).astype(float)
        assert dark.mean() < 0.75 * bright.mean()
        assert dark.std() > 12 and np.percentile(dark, 99.5) > 150


def test_a_wet_road_mirrors(day: Scene, rain: Scene) -> None:
    """Rows of the road, far ahead, are brighter than dry ones: they show the sky."""
    dry, wet = picture(day).astype(float), picture(rain).astype(float)
    assert wet.std(axis=(0, 1)).mean() > 8
    assert np.abs(wet - dry).mean() > 10


def test_rain_thins_the_cloud_and_adds_echoes_near_by(day: Scene, rain: Scene) -> None:
    clear = scan(*day, day[0].world_from_ego(0), np.random.default_rng(0))
    wet = scan(*rain, rain[0].world_from_ego(0), np.random.default_rng(0))
    distance = [np.linalg.norm(cloud[:, :3], axis=1) for cloud in (clear, wet)]
    assert (distance[1] > 30).sum() < 0.8 * (distance[0] > 30).sum()
    near = [np.sum((d < 4) & (cloud[:, 2] > -1.0)) for d, cloud in zip(distance, (clear, wet), strict=True)]
    assert near[1] > near[0] + 20
    assert (wet[:, 3] >= 0).all() and (wet[:, 3] <= 255).all() and wet.dtype == np.float32


def test_names_and_descriptions_show_the_conditions() -> None:
    assert Conditions().suffix == "" and Conditions("B", "night", "rain").suffix == "-b-night-rain"
    assert "Night" in Conditions("A", "night").description and "Rain" in Conditions("A", "day", "rain").description
    for conditions in (Conditions(), Conditions("B"), Conditions("A", "dusk", "rain"), Conditions("B", "night", "dry")):
        assert Conditions.of_scene(f"synth-7-0001{conditions.suffix}") == conditions


def test_a_mixed_set_has_a_split_for_every_condition(tmp_path: Path) -> None:
    config = SynthConfig(
        tmp_path / "mixed", scenes=3, frames=1, seed=11, width=88, height=32, sweeps=0, jobs=1,
        city="mixed", light="mixed", weather="mixed",
    )  # fmt: skip
    assert len({config.conditions(index) for index in range(12)}) > 5
    generate(config)
    splits = json.loads((config.out / SYNTHETIC_VERSION / "splits.json").read_text())
    names = [config.scene_name(index) for index in range(3)]
    assert splits["synth"] == names
    for axis in (("a", "b"), ("day", "dusk", "night"), ("dry", "rain")):
        assert sorted(name for word in axis for name in splits.get(f"synth_{word}", [])) == sorted(names)
    scenes = json.loads((config.out / SYNTHETIC_VERSION / "scene.json").read_text())
    assert {("-night" in row["name"]) for row in scenes if "Night" in row["description"]} <= {True}
