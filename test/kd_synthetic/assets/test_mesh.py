"""Meshes: each fills its box, primitives look outwards, sizes follow their statistics."""

import numpy as np
import pytest

from kd_synthetic.assets.cars import build_car
from kd_synthetic.assets.machines import build_bus, build_construction_vehicle
from kd_synthetic.assets.mesh import Mesh, box, ellipsoid, join, tube, turned
from kd_synthetic.assets.people import build_bicycle, build_motorcycle, build_pedestrian
from kd_synthetic.assets.street_objects import build_barrier, build_traffic_cone
from kd_synthetic.assets.trucks import build_trailer, build_truck
from kd_synthetic.streets.actors import SIZE_STATISTICS, sample_size

BUILDERS = {
    "car": build_car,
    "truck": build_truck,
    "bus": build_bus,
    "trailer": build_trailer,
    "construction_vehicle": build_construction_vehicle,
    "motorcycle": lambda size, rng: build_motorcycle(size, rng, rider=rng.random() < 0.5),
    "bicycle": lambda size, rng: build_bicycle(size, rng, rider=rng.random() < 0.5),
    "traffic_cone": build_traffic_cone,
    "barrier": lambda size, rng: build_barrier(size, int(rng.integers(3))),
}


def extent(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    points = mesh.vertices.reshape(-1, 3)
    return points.min(0), points.max(0)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_mesh_fills_exactly_its_box(name: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(8):
        size = sample_size(name, rng)
        low, high = extent(BUILDERS[name](size, rng))
        length, width, height = size
        np.testing.assert_allclose(low, (-length / 2, -width / 2, 0), atol=1e-3)
        np.testing.assert_allclose(high, (length / 2, width / 2, height), atol=1e-3)


@pytest.mark.parametrize("pose", ["walking", "standing", "sitting"])
def test_a_person_stays_in_the_box_at_every_phase(pose: str) -> None:
    size = (0.8, 0.7, 1.8)
    for phase in np.linspace(0, 2 * np.pi, 8):
        low, high = extent(build_pedestrian(size, np.random.default_rng(0), float(phase), pose))
        assert (low >= np.array((-0.4, -0.35, 0)) - 1e-3).all()
        assert (high <= np.array((0.4, 0.35, 1.8)) + 1e-3).all()
        assert high[2] == pytest.approx(1.8, abs=1e-3)


def test_cars_differ_and_a_seed_repeats_one() -> None:
    size = (4.6, 1.9, 1.6)
    first, again, other = (build_car(size, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.vertices, again.vertices)
    assert len(first) != len(other) or not np.array_equal(first.colour, other.colour)


def test_moving_turns_counter_clockwise_then_shifts() -> None:
    mesh = box((1, 0, 0), (0.2, 0.2, 0.2), (0.5, 0.5, 0.5)).moved(10, 20, np.pi / 2, 3)
    np.testing.assert_allclose(mesh.vertices.reshape(-1, 3).mean(0), (10, 21, 3), atol=1e-5)


def test_primitives_have_outward_unit_normals() -> None:
    centre = np.array((1.0, -2.0, 3.0))
    parts = (
        box(centre, (1, 2, 3), (0.5,) * 3),
        ellipsoid(centre, (1, 2, 0.5), (0.5,) * 3),
        tube(centre - (0, 0, 1), centre + (0, 0, 1), 0.5, (0.5,) * 3),
    )
    for mesh in parts:
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=-1), 1, atol=1e-4)
        assert (np.einsum("tci,tci->tc", mesh.normals, mesh.vertices - centre) > 0).all()
    assert len(join(parts)) == sum(len(part) for part in parts)


def test_sizes_follow_their_statistics() -> None:
    rng = np.random.default_rng(0)
    for name, (mean, deviation) in SIZE_STATISTICS.items():
        draws = np.array([sample_size(name, rng) for _ in range(400)])
        assert (np.abs(draws.mean(0) - mean) < 0.2 * np.array(deviation)).all(), name
        assert (np.abs(draws - mean) <= 2 * np.array(deviation) + 1e-3).all(), name


@pytest.mark.parametrize("yaw", [0.0, 0.7, np.pi / 2, -2.9])
def test_turning_is_the_product_with_a_rotation(yaw: float) -> None:
    vectors = np.random.default_rng(2).normal(0, 5, (40, 3, 3)).astype(np.float32)
    rotation = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    np.testing.assert_allclose(turned(vectors, yaw), vectors @ rotation.T, atol=1e-5)
    assert turned(vectors, yaw).dtype == np.float32
