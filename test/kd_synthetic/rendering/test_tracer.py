"""Two trees answer rays as one tree does."""

import numpy as np
import pytest

from kd_synthetic.rendering.tracer import PairTracer, TreeTracer

RNG = np.random.default_rng(5)


def wall(x: float) -> np.ndarray:
    """Two triangles (2, 3, 3) of 4 m by 4 m across the x axis."""
    a, b, c, d = ((x, y, z) for y, z in ((-2, -2), (2, -2), (2, 2), (-2, 2)))
    return np.array(((a, b, c), (a, c, d)), np.float32)


def along_x(*heights: float) -> tuple[np.ndarray, np.ndarray]:
    """Rays from x = 0 along the x axis, at these heights."""
    origins = np.array([(0, 0.3, z) for z in heights], np.float32)
    return origins, np.tile(np.array((1, 0, 0), np.float32), (len(heights), 1))


def soup(count: int) -> np.ndarray:
    """Triangles (T, 3, 3) at random within 10 m."""
    centre = RNG.uniform(-10, 10, (count, 1, 3))
    return (centre + RNG.normal(0, 0.8, (count, 3, 3))).astype(np.float32)


def random_rays(count: int) -> tuple[np.ndarray, np.ndarray]:
    directions = RNG.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return RNG.uniform(-12, 12, (count, 3)).astype(np.float32), directions.astype(np.float32)


def pair(lasting: np.ndarray, passing: np.ndarray) -> PairTracer:
    return PairTracer(TreeTracer(lasting), np.concatenate([lasting, passing]))


@pytest.mark.parametrize(("lasting", "passing", "nearest"), [(8.0, 5.0, (2, 3)), (5.0, 8.0, (0, 1))])
def test_the_nearer_of_wall_and_actor_is_met(lasting: float, passing: float, nearest: tuple[int, int]) -> None:
    tracer = pair(wall(lasting), wall(passing))
    hits = tracer.closest(*along_x(0.5, 30.0))
    assert hits.triangle[0] in nearest and hits.distance[0] == 5.0
    assert hits.triangle[1] == -1 and hits.distance[1] > 1e36  # a miss of both
    np.testing.assert_allclose(hits.points(np.array([0])), [(5.0, 0.3, 0.5)])


def test_either_tree_blocks_within_reach() -> None:
    tracer = pair(wall(5.0), wall(8.0)[:, :, (0, 1, 2)] + np.array((0, 0, 10), np.float32))
    origins, directions = along_x(0.5, 10.5, 30.0)
    assert tracer.blocked(origins, directions).tolist() == [True, True, False]
    reach = np.array((4.9, 8.1, 50.0), np.float32)
    assert tracer.blocked(origins, directions, reach).tolist() == [False, True, False]
    assert reach.tolist() == [np.float32(4.9), np.float32(8.1), 50.0]


def test_two_trees_meet_what_one_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also once many rays were asked for, when one tree takes over."""
    triangles, rays = soup(3000), random_rays(4000)
    one, two = TreeTracer(triangles), pair(triangles[:1700], triangles[1700:])
    expected, found = one.closest(*rays), two.closest(*rays)
    assert 0.2 < np.mean(expected.triangle >= 1700) < 0.8
    hit = expected.triangle >= 0
    for name in ("triangle", "distance"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("u", "v"):
        np.testing.assert_array_equal(getattr(found, name)[hit], getattr(expected, name)[hit])
    reach = RNG.uniform(0.5, 20, 4000).astype(np.float32)
    monkeypatch.setattr(PairTracer, "MANY_RAYS", 10_000)
    for _ in range(3):
        np.testing.assert_array_equal(two.blocked(*rays), one.blocked(*rays))
        np.testing.assert_array_equal(two.blocked(*rays, reach), one.blocked(*rays, reach))
