"""Actors for tracks of real tables: the world's own models in the boxes' sizes, moving as the boxes do."""

import zlib

import numpy as np

from kd_synthetic.assets.cars import build_car
from kd_synthetic.assets.machines import build_bus, build_construction_vehicle
from kd_synthetic.assets.mesh import Material, Mesh, Size, box, join, tube
from kd_synthetic.assets.parts import vary
from kd_synthetic.assets.people import build_bicycle, build_motorcycle, build_pedestrian
from kd_synthetic.assets.street_objects import build_barrier, build_traffic_cone
from kd_synthetic.assets.trucks import build_trailer, build_truck
from kd_synthetic.rerender.source import SourceTrack
from kd_synthetic.streets.actors import PEDAL, WALK, Actor, Build, Track, cyclic_mesh

AROUND = 2.0  # time steps for which an object exists before its first and after its last keyframe


def cast(track: SourceTrack, steps: np.ndarray, attribute_names: dict[str, str]) -> Actor:
    """The actor of a track whose keyframes are at time steps (K,)."""
    tokens = [token for row in track.rows for token in row["attribute_tokens"]]
    attributes = [attribute_names.get(token, "") for token in tokens]
    common = max(sorted(set(attributes)), key=attributes.count) if attributes else ""
    seed = zlib.crc32(track.rows[0]["instance_token"].encode())
    build, stride = _builder(track, common, seed)
    at_rest = "vehicle.stopped" if common == "vehicle.moving" else common
    motion = Track(track.xy, track.yaw, steps)
    lifetime = (float(steps[0]) - AROUND, float(steps[-1]) + AROUND)
    return Actor(
        track.name,
        track.category,
        track.size,
        motion,
        cyclic_mesh(build, seed, stride),
        at_rest,
        common,
        stride > 0,
        lifetime,
    )


def _builder(track: SourceTrack, attribute: str, seed: int) -> tuple[Build, float]:
    """What builds the mesh, and the metres of a cycle of limbs (0 for none)."""
    size, draw = track.size, np.random.default_rng(seed).random(2)
    rider = attribute == "cycle.with_rider"
    if track.name == "pedestrian":
        pose = {"pedestrian.moving": "walking", "pedestrian.sitting_lying_down": "sitting"}.get(attribute, "standing")
        worker = "construction" in track.category
        walk = WALK if pose == "walking" else 0.0
        return lambda rng, phase: build_pedestrian(size, rng, phase, pose, worker=worker), walk
    if track.name == "bicycle":
        return lambda rng, phase: build_bicycle(size, rng, phase, rider=rider), PEDAL if rider else 0.0
    simple: dict[str, Build] = {
        "car": lambda rng, _: build_car(size, rng),
        "truck": lambda rng, _: build_truck(size, rng),
        "bus": lambda rng, _: build_bus(size, rng),
        "trailer": lambda rng, _: build_trailer(size, rng),
        "construction_vehicle": lambda rng, _: build_construction_vehicle(size, rng),
        "motorcycle": lambda rng, _: build_motorcycle(size, rng, rider=rider, scooter=draw[0] < 0.5),
        "traffic_cone": lambda rng, _: build_traffic_cone(size, rng),
        "barrier": lambda rng, _: build_barrier(size, int(3 * draw[0])),
    }
    if track.name in simple:
        return simple[track.name], 0.0
    if "bicycle_rack" in track.category:
        return lambda rng, _: _bicycle_rack(size, rng), 0.0
    return lambda rng, _: _cart(size, rng), 0.0


def _bicycle_rack(size: Size, rng: np.random.Generator) -> Mesh:
    """Hoops in a row, with bicycles in most of them; the row runs along the longer side."""
    length, width, _ = size
    along, across = max(length, width), min(length, width)
    parts = [box((0, 0, 0.02), (along, 0.1, 0.04), (0.3, 0.3, 0.31), Material.METAL)]
    for x in np.arange(-along / 2 + 0.35, along / 2 - 0.3, 0.7):
        for y in (-0.25, 0.25):
            parts.append(tube((x, y, 0), (x, y, 0.75), 0.025, (0.4, 0.41, 0.42), Material.METAL, sides=6))
        parts.append(tube((x, -0.25, 0.75), (x, 0.25, 0.75), 0.025, (0.4, 0.41, 0.42), Material.METAL, sides=6))
        if rng.random() < 0.8:
            bicycle = build_bicycle((min(1.7, max(across, 1.2)), 0.55, 1.05), rng, rider=False)
            parts.append(bicycle.moved(float(x) + 0.12, 0.0, np.pi / 2))
    mesh = join(parts)
    return (mesh if length >= width else mesh.moved(0, 0, np.pi / 2)).fitted(size)


def _cart(size: Size, rng: np.random.Generator) -> Mesh:
    """A bin, trolley or box on small wheels: what has no class of its own."""
    length, width, height = size
    colour = vary((0.12, 0.2, 0.16), rng, 0.5)
    wheels = [
        tube((x * 0.35 * length, y * 0.5 * width, 0.1 * height), (x * 0.35 * length, y * 0.4 * width, 0.1 * height),
             0.1 * height, (0.03, 0.03, 0.03)) for x in (-1, 1) for y in (-1, 1)
    ]  # fmt: skip
    body = box((0, 0, 0.55 * height), (0.94 * length, 0.94 * width, 0.8 * height), colour)
    lid = box((0, 0, 0.975 * height), (length, width, 0.05 * height), vary(colour, rng, 0.3))
    return join([body, lid, *wheels]).fitted(size)
