"""Lens models: round trips, finite differences, OpenCV's word on every one, and where they end."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_perception.errors import CalibrationError
from kd_perception.geometry.lens import EquidistantLens, Lens, PerspectiveLens, make_lens

PLUMB_BOB = (-0.28, 0.07, 0.0008, -0.0006, -0.008)
RATIONAL = (7.3, 3.6, 1e-4, -2e-4, 0.18, 7.7, 6.0, 1.1)  # of the kind that wide cameras are shipped with
EQUIDISTANT = (-0.012, 0.0035, -0.0028, 0.0005)
WIDE = (0.03, -0.002, 0.0, 0.0)  # grows up to beyond 200 degrees
LENSES = {
    "none": make_lens("none", ()),
    "plumb_bob": make_lens("plumb_bob", PLUMB_BOB),
    "rational_polynomial": make_lens("rational_polynomial", RATIONAL),
    "equidistant": make_lens("equidistant", EQUIDISTANT),
    "equidistant wide": make_lens("equidistant", WIDE),
}
every_lens = pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())


def directions(lens: Lens, share: float, count: int = 400) -> np.ndarray:
    """Unit rays (count, 3) evenly over the angles up to a share of the lens's field of view, the axis included."""
    rng = np.random.default_rng(0)
    angle, around = np.linspace(0.0, share * lens.max_angle, count), rng.uniform(-np.pi, np.pi, count)
    return np.column_stack([np.sin(angle) * np.cos(around), np.sin(angle) * np.sin(around), np.cos(angle)])


@every_lens
def test_rays_are_the_inverse_of_image(lens: Lens):
    """Near the limit, where the curve is flat, an image coordinate says little of the angle: tested up to 95 %."""
    rays = directions(lens, 0.95)
    image, visible = lens.image(rays * np.random.default_rng(1).uniform(3.0, 60.0, (len(rays), 1)))
    assert visible.all()
    back = lens.rays(image)
    np.testing.assert_allclose(back, rays, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1.0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    angle=st.floats(0.0, 0.97), around=st.floats(-np.pi, np.pi), name=st.sampled_from(["plumb_bob", "equidistant wide"])
)
def test_any_direction_comes_back(angle: float, around: float, name: str):
    lens = LENSES[name]
    tilt = angle * lens.max_angle
    ray = np.array([[np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), np.cos(tilt)]])
    image, _ = lens.image(10.0 * ray)
    np.testing.assert_allclose(lens.rays(image), ray, atol=1e-8)


@every_lens
def test_the_image_follows_a_ray_smoothly(lens: Lens):
    """Central differences of image(rays(c)) are the identity: both sides have each other's derivative."""
    image, _ = lens.image(directions(lens, 0.8)[1:] * 10.0)
    step = 1e-5
    for axis in range(2):
        moved = [lens.image(10.0 * lens.rays(image + sign * step * np.eye(2)[axis]))[0] for sign in (1.0, -1.0)]
        np.testing.assert_allclose(
            (moved[0] - moved[1]) / (2.0 * step), np.tile(np.eye(2)[axis], (len(image), 1)), atol=1e-5
        )


@every_lens
def test_the_image_grows_up_to_the_limit_and_no_further(lens: Lens):
    """Along any meridian the radius rises with the angle, all the way; past the limit points are hidden."""
    angle = np.linspace(0.0, 0.999 * lens.max_angle, 500)[1:]
    for around in np.linspace(-np.pi, np.pi, 13):
        meridian = np.array([np.cos(around), np.sin(around)])
        image, visible = lens.image(100.0 * np.column_stack([np.sin(angle)[:, None] * meridian, np.cos(angle)]))
        assert visible.all() and (np.diff(image @ meridian) > 0).all()
    if lens.max_angle < np.pi:
        beyond = lens.max_angle + 0.02
        _, visible = lens.image(10.0 * np.array([[np.sin(beyond), 0.0, np.cos(beyond)]]))
        assert not visible[0]


def test_a_folding_polynomial_ends_where_it_turns():
    lens = make_lens("plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    assert np.tan(lens.max_angle) == pytest.approx(np.sqrt(1.0 / 0.9))  # d/dr (r - 0.3 r^3) = 0
    folded, visible = lens.image(np.array([[14.0, 0.0, 10.0], [5.0, 0.0, 10.0]]))
    assert visible.tolist() == [False, True] and abs(folded[0, 0]) < 0.6  # it would have landed inside the image
    assert np.isnan(lens.rays(np.array([[0.75, 0.0]]))).all()  # further out than anything the lens shows
    fisheye = make_lens("equidistant", (-0.1, 0.0, 0.0, 0.0))
    assert fisheye.max_angle == pytest.approx(np.sqrt(1.0 / 0.3))
    assert np.isnan(fisheye.rays(np.array([[0.0, 1.5]]))).all()


def test_a_rational_lens_ends_before_its_pole():
    lens = make_lens("rational_polynomial", (0.0, 0.0, 0.0, 0.0, 0.0, -0.25, 0.0, 0.0))  # r / (1 - r^2 / 4)
    assert np.tan(lens.max_angle) == pytest.approx(2.0)
    ray = lens.rays(np.array([[1.5, 0.0]]))[0]
    assert ray[0] / ray[2] == pytest.approx((np.sqrt(3.25) - 1.0) / 0.75)  # the positive root of r + 0.375 r^2 = 1.5


def test_a_fisheye_sees_behind_itself():
    lens = make_lens("equidistant", WIDE)
    assert lens.max_angle > np.radians(100.0)
    angle = np.radians(100.0)
    image, visible = lens.image(5.0 * np.array([[np.sin(angle), 0.0, np.cos(angle)], [0.0, 0.0, -1.0]]))
    assert visible.tolist() == [True, False] and image[0, 0] > angle * 0.9


@pytest.mark.parametrize(("name", "coefficients"), [("plumb_bob", PLUMB_BOB), ("rational_polynomial", RATIONAL)])
def test_perspective_lenses_agree_with_opencv(name: str, coefficients: tuple[float, ...]):
    rays = directions(LENSES[name], 0.8)
    expected, _ = cv2.projectPoints(20.0 * rays, np.zeros(3), np.zeros(3), np.eye(3), np.array(coefficients))
    image, _ = LENSES[name].image(20.0 * rays)
    np.testing.assert_allclose(image, expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("name", ["equidistant", "equidistant wide"])
def test_the_fisheye_agrees_with_opencv(name: str):
    lens = LENSES[name]
    rays = directions(lens, min(1.0, np.radians(85.0) / lens.max_angle))[1:]
    expected, _ = cv2.fisheye.projectPoints(
        20.0 * rays[:, None], np.zeros(3), np.zeros(3), np.eye(3), np.array(lens.coefficients)
    )
    image, _ = lens.image(20.0 * rays)
    np.testing.assert_allclose(image, expected[:, 0], atol=1e-9)
    undistorted = cv2.fisheye.undistortPoints(
        image[:, None].astype(np.float64), np.eye(3), np.array(lens.coefficients)
    )[:, 0]
    ours = lens.rays(image)
    np.testing.assert_allclose(ours[:, :2] / ours[:, 2:], undistorted, rtol=1e-4, atol=1e-6)


def test_no_lens_is_exactly_the_pinhole():
    points = np.random.default_rng(2).uniform([-5, -5, 1], [5, 5, 40], (100, 3))
    np.testing.assert_array_equal(LENSES["none"].image(points)[0], points[:, :2] / points[:, 2:])
    assert LENSES["none"] == PerspectiveLens((0.0,) * 8)
    assert LENSES["equidistant"] == EquidistantLens(EQUIDISTANT)


@pytest.mark.parametrize(
    ("model", "coefficients", "sentence"),
    [
        ("omnidirectional", (), "'omnidirectional' is not supported"),
        ("equidistant", (0.1,) * 5, "'equidistant' needs 4 finite coefficients"),
        ("rational_polynomial", (np.nan,) * 8, "'rational_polynomial' needs 8 finite"),
    ],
)
def test_unknown_lenses_are_one_sentence(model: str, coefficients: tuple[float, ...], sentence: str):
    with pytest.raises(CalibrationError, match=sentence):
        make_lens(model, coefficients)


@every_lens
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_no_point_beyond_the_angle_is_within_the_radius(lens: Lens, share: float):
    """And the angle is at most a degree wider than need be."""
    rays = directions(lens, 0.999, 4000)
    image, visible = lens.image(10.0 * rays)
    radii = np.linalg.norm(image, axis=1)
    radius = radii[int(share * len(rays))]
    widest = np.arccos(rays[visible & (radii <= radius), 2]).max()
    assert widest <= lens.angle_within(radius) <= widest + np.radians(1.0)
    assert lens.angle_within(1e9) == lens.max_angle
