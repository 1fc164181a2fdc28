"""Cameras: projection by round trip and finite differences, pixel centres, refused calibrations."""

import cv2
import numpy as np
import pytest

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera, ring_rig, same_rig
from kd_perception.geometry.transforms import apply, make_transform

K = np.array([[800.0, 0.0, 640.0], [0.0, 790.0, 360.0], [0.0, 0.0, 1.0]])
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # looks along ego x
EGO_FROM_CAMERA = make_transform(OPTICAL, np.array([1.5, 0.2, 1.6]))
PLUMB_BOB = (-0.28, 0.07, 0.0008, -0.0006, -0.008)


def camera(model: str = "none", distortion: tuple[float, ...] = (), **changes) -> Camera:
    values = {"name": "front", "intrinsics": K, "ego_from_camera": EGO_FROM_CAMERA, "width": 1280, "height": 720}
    return Camera(**(values | changes), distortion_model=model, distortion=distortion)


FISHEYE = np.array([[300.0, 0.0, 640.0], [0.0, 300.0, 360.0], [0.0, 0.0, 1.0]])
CAMERAS = [
    camera(),
    camera("plumb_bob", PLUMB_BOB),
    camera("rational_polynomial", (7.3, 3.6, 1e-4, -2e-4, 0.18, 7.7, 6.0, 1.1)),
    camera("equidistant", (0.03, -0.002, 0.0, 0.0), intrinsics=FISHEYE),
]


@pytest.mark.parametrize("lens", CAMERAS, ids=lambda lens: lens.distortion_model)
def test_pixels_unproject_and_project_back(lens: Camera):
    u, v = np.meshgrid(np.linspace(1, lens.width - 1, 40), np.linspace(1, lens.height - 1, 30))
    pixels = np.column_stack([u.ravel(), v.ravel()])
    rays = lens.unproject(pixels)
    reachable = np.isfinite(rays).all(axis=1)
    assert reachable.mean() > 0.95
    np.testing.assert_allclose(np.linalg.norm(rays[reachable], axis=1), 1.0)
    distance = np.random.default_rng(0).uniform(1.0, 60.0, reachable.sum())
    back, measured, seen = lens.project(apply(lens.ego_from_camera, rays[reachable] * distance[:, None]))
    assert seen.all()
    np.testing.assert_allclose(back, pixels[reachable], atol=1e-5)
    np.testing.assert_allclose(measured, distance)


def test_projection_is_opencv_s_shifted_by_half_a_pixel():
    lens = camera("plumb_bob", PLUMB_BOB)
    points = np.random.default_rng(1).uniform([3, -4, 0], [40, 4, 3], (50, 3))
    local = apply(np.linalg.inv(lens.ego_from_camera), points)
    expected, _ = cv2.projectPoints(
        local, np.zeros(3), np.zeros(3), lens.integer_centred_intrinsics(), np.array(PLUMB_BOB)
    )
    pixels, _, _ = lens.project(points)
    np.testing.assert_allclose(pixels, expected[:, 0] + 0.5, atol=1e-9)


@pytest.mark.parametrize("lens", CAMERAS, ids=lambda lens: lens.distortion_model)
def test_projection_s_derivative_matches_the_focal_length(lens: Camera):
    """On the optical axis a point moved sideways by d at depth z moves by f d / z, by central differences."""
    focal = lens.intrinsics[[0, 1], [0, 1]]

    def pixel(y: float, z: float) -> np.ndarray:
        return lens.project(np.array([[1.5 + 10.0, 0.2 + y, 1.6 + z]]))[0][0]

    step = 1e-4
    np.testing.assert_allclose((pixel(step, 0.0) - pixel(-step, 0.0)) / (2 * step), [-focal[0] / 10.0, 0.0], atol=0.02)
    np.testing.assert_allclose((pixel(0.0, step) - pixel(0.0, -step)) / (2 * step), [0.0, -focal[1] / 10.0], atol=0.02)


def test_what_is_behind_beside_or_folded_back_is_not_seen():
    lens = camera("plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))  # its polynomial turns at a normalised radius of 1.05
    points = np.array([[10.0, 0.2, 1.6], [-10.0, 0.2, 1.6], [1.55, 0.2, 1.6], [2.5, 1.6, 1.6], [10.0, 50.0, 1.6]])
    _, _, seen = lens.project(points)
    assert seen.tolist() == [True, False, False, False, False]
    folded, _ = lens.project_local(np.array([[14.0, 0.0, 10.0]]))
    assert abs(folded[0, 0] - 640.0) < 640.0  # without the check it would have fallen inside the image


def test_pixels_no_point_reaches_give_nan():
    lens = camera("plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    assert np.isnan(lens.unproject(np.array([[1279.0, 719.0]]))).all()


def test_integer_centred_intrinsics_round_trip():
    lens = Camera.from_integer_centred("front", K, EGO_FROM_CAMERA, width=1280, height=720)
    assert lens.intrinsics[0, 2] == 640.5 and lens.intrinsics[1, 2] == 360.5
    np.testing.assert_array_equal(lens.integer_centred_intrinsics(), K)


def test_any_part_of_the_calibration_makes_another_one():
    moved = EGO_FROM_CAMERA.copy()
    moved[0, 3] += 1e-6
    variants = [
        camera(),
        camera("plumb_bob", PLUMB_BOB),
        camera(ego_from_camera=moved),
        camera(width=1281),
        camera(intrinsics=K * [[1.0001], [1], [1]]),
        camera(name="rear"),
    ]
    for i, first in enumerate(variants):
        assert [first.same_calibration(second) for second in variants] == [i == j for j in range(len(variants))]
    assert camera("plumb_bob", PLUMB_BOB).same_calibration(camera("plumb_bob", PLUMB_BOB))


def test_rigs_are_the_same_camera_by_camera():
    rig = ring_rig(3, 352, 128)
    assert same_rig(rig, rig) and same_rig(rig, ring_rig(3, 352, 128))
    assert not same_rig(rig, rig[:2]) and not same_rig(rig, [rig[1], rig[0], rig[2]])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"intrinsics": np.full((3, 3), np.nan)}, "camera 'front': intrinsics are not nine finite numbers"),
        ({"intrinsics": np.zeros((3, 3))}, "camera 'front': focal lengths must be positive"),
        ({"intrinsics": np.eye(4)}, "camera 'front': intrinsics are not nine"),
        ({"width": 0}, "camera 'front': image size 0x720"),
        ({"ego_from_camera": np.full((4, 4), np.inf)}, "camera 'front': its transform to base_link"),
        ({"model": "fisheye_9"}, "camera 'front': distortion model 'fisheye_9' is not supported"),
        ({"model": "plumb_bob", "distortion": (0.1, 0.2)}, "camera 'front': 'plumb_bob' needs 5 finite coefficients"),
    ],
)
def test_an_unusable_calibration_is_one_sentence(changes: dict, sentence: str):
    with pytest.raises(CalibrationError, match=sentence):
        camera(**changes)


@pytest.mark.parametrize("count", [1, 4, 6, 8])
def test_ring_rig_looks_around(count: int):
    rig = ring_rig(count, 352, 128)
    forward = np.array([lens.ego_from_camera[:3, 2] for lens in rig])
    np.testing.assert_allclose(forward[0], [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(
        np.arctan2(forward[:, 1], forward[:, 0]) % (2 * np.pi), 2 * np.pi * np.arange(count) / count, atol=1e-9
    )
    for lens in rig:  # what is 10 m ahead at the camera's height is at its image centre
        pixel, distance, seen = lens.project((lens.ego_from_camera[:3, 3] + 10.0 * lens.ego_from_camera[:3, 2])[None])
        np.testing.assert_allclose(pixel[0], [176.0, 64.0], atol=1e-9)
        assert seen[0] and distance[0] == pytest.approx(10.0)
