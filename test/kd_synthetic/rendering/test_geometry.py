"""Triangles at a time step: the same whether actors are placed once or every time."""

import numpy as np
import pytest

from kd_synthetic.assets.mesh import Mesh, box
from kd_synthetic.rendering.geometry import ACTOR_REACH, Placement, contact_shadows
from kd_synthetic.streets.actors import Actor, Motion, still

WALL = box((0, 12, 2), (6, 1, 4), (0.5, 0.5, 0.5))
OFFSET = np.array((100.0, 50.0, 0.0))


def cube(motion: Motion) -> Actor:
    mesh = box((0, 0, 0.5), (1, 1, 1), (0.2, 0.2, 0.2))
    return Actor("car", "vehicle.car", (1.0, 1.0, 1.0), motion, lambda travelled: mesh, "", "")


def driving(speed: float) -> Motion:
    """Along x from the offset, metres a time step."""
    x = 100.0 + speed * np.arange(10)
    return Motion(np.column_stack([x, np.full(10, 50.0)]), np.zeros(10))


def middle(mesh: Mesh, triangles: slice) -> list[float]:
    return mesh.vertices[triangles].mean((0, 1)).round(3).tolist()


@pytest.fixture
def actors() -> tuple[Actor, ...]:
    return cube(driving(2.0)), cube(still(103.0, 57.0, 0.0)), cube(driving(0.0)), cube(still(500.0, 50.0, 0.0))


def test_actors_are_where_they_are_at_each_step(actors: tuple[Actor, ...]) -> None:
    placement = Placement(WALL, actors, OFFSET)
    for step in (1, 3, 4.5):
        present = placement.present(step, np.array((100.0, 50.0)))
        assert present == [0, 1, 2]  # the last one is beyond ACTOR_REACH
        placed = placement.place(step, present)
        assert list(placed.slices) == [0, 1, 2] and (placed.owner[: len(WALL)] == -1).all()
        assert middle(placed.mesh, placed.slices[0]) == [2.0 * step, 0.0, 0.5]
        assert middle(placed.mesh, placed.slices[1]) == [3.0, 7.0, 0.5]
        for index, triangles in placed.slices.items():
            assert (placed.owner[triangles] == index).all() and len(placed.owner) == len(placed.mesh)
        ray = np.array(((2.0 * step, -20.0, 0.5),), np.float32), np.array(((0, 1, 0),), np.float32)
        hit = placed.tracer.closest(*ray)
        assert placed.owner[hit.triangle[0]] == 0 and hit.distance[0] == pytest.approx(19.5)


def test_who_stands_is_placed_again_only_when_others_stand_there(actors: tuple[Actor, ...]) -> None:
    placement = Placement(WALL, actors, OFFSET)
    here, away = np.array((100.0, 50.0)), np.array((103.0 + ACTOR_REACH + 1.0, 50.0))
    first = placement.place(0, [1, 2])
    assert placement.place(5, [1, 2]) is first  # nobody moves: nothing to add
    assert placement.present(0, away) == []
    assert len(placement.place(0, []).mesh) == len(WALL)
    again = placement.place(0, placement.present(0, here))
    assert list(again.slices) == [0, 1, 2] and again.slices[1].start < again.slices[0].start


def test_an_actor_darkens_the_ground_below_it() -> None:
    centre = np.array((100.0, 50.0))
    shadow = contact_shadows([cube(still(110.0, 50.0, 0.3))], 0, centre)
    row, column = np.unravel_index(np.argmax(shadow), shadow.shape)
    side = len(shadow) // 2
    assert abs(row - side) <= 2 and abs(column - side - 40) <= 2 and shadow[side, side] == 0.0
