"""Camera parameters: the same camera has the same ones however it is described, and a changed one changes them so."""

from dataclasses import replace

import numpy as np
import pytest

from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.student.camera_params import CAMERA_PARAMS, camera_params
from kd_perception.student.preprocess import fit_camera, fit_views

SIZE = (128, 352)  # height, width of the network image
LENSES = {
    "none": (),
    "plumb_bob": (-0.25, 0.06, 0.001, -0.001, 0.0),
    "rational_polynomial": (7.3, 3.6, 1e-4, -2e-4, 0.18, 7.7, 6.0, 1.1),
    "equidistant": (0.03, -0.002, 0.0, 0.0),
}


def split(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) and rays (N, 3, 3, 3): row and column of the image, then x, y, z."""
    assert rows.dtype == np.float32 and rows.shape[1] == CAMERA_PARAMS
    return rows[:, :3], rows[:, 3:].reshape(-1, 3, 3, 3)


def tilted(seed: int = 0) -> Camera:
    """An 800x600 camera in no special place, looking in no special direction."""
    rng = np.random.default_rng(seed)
    camera = ring_rig(5, 800, 600)[seed % 5]
    turn = make_transform(np.array([1.0, *rng.uniform(-0.05, 0.05, 3)]), rng.uniform(-0.5, 0.5, 3))
    return replace(camera, ego_from_camera=camera.ego_from_camera @ turn)


def test_a_level_forward_camera():
    (camera,) = ring_rig(1, 352, 128, np.radians(80.0))
    position, rays = split(camera_params(SIZE, [camera], [np.eye(3)]))
    np.testing.assert_allclose(position[0], [0.0, 0.0, 1.5])
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(rays[0, 1, 1], [1.0, 0.0, 0.0], atol=1e-6)  # the middle looks ahead
    assert (rays[0, :, 0, 1] > 0).all() and (rays[0, :, 2, 1] < 0).all()  # left, right
    assert (rays[0, 0, :, 2] > 0).all() and (rays[0, 2, :, 2] < 0).all()  # up, down
    edge = np.tan(np.radians(40.0)) * 2.0 / 3.0  # a third of the width away from the middle
    np.testing.assert_allclose(rays[0, 1, 0], np.array([1.0, edge, 0.0]) / np.hypot(1.0, edge), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_moved_camera_moves_and_a_turned_one_turns(seed):
    camera, step = tilted(seed), 1e-3
    affine = fit_camera(camera, SIZE)

    def params(move: np.ndarray) -> np.ndarray:
        moved = replace(camera, ego_from_camera=move @ camera.ego_from_camera)
        return camera_params(SIZE, [moved], [affine])[0].astype(np.float64)

    position, rays = params(np.eye(4))[:3], params(np.eye(4))[3:].reshape(9, 3)
    for axis in np.eye(3):
        change = params(make_transform(np.eye(3), step * axis)) - params(make_transform(np.eye(3), -step * axis))
        np.testing.assert_allclose(change / (2.0 * step), [*axis, *np.zeros(CAMERA_PARAMS - 3)], atol=1e-3)
    turned = [params(make_transform(quaternion_from_yaw(angle), np.zeros(3))) for angle in (step, -step)]
    change = (turned[0] - turned[1]) / (2.0 * step)
    expected = np.cross([0.0, 0.0, 1.0], np.vstack([position, rays]))
    np.testing.assert_allclose(change, expected.ravel(), atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_crop_is_another_focal_length_and_centre(seed):
    camera = tilted(seed)
    whole = fit_camera(camera, SIZE)
    cropped = np.array([[1.3, 0.02, -20.0], [-0.02, 1.3, -7.0], [0.0, 0.0, 1.0]]) @ whole
    as_crop = camera_params(SIZE, [camera], [cropped])
    equivalent = replace(camera, intrinsics=cropped @ camera.intrinsics, width=SIZE[1], height=SIZE[0])
    np.testing.assert_allclose(as_crop, camera_params(SIZE, [equivalent], [np.eye(3)]), atol=1e-6)
    _, before = split(camera_params(SIZE, [camera], [whole]))
    _, after = split(as_crop)
    angle = [np.arccos(np.sum(rays[0, 1, 0] * rays[0, 1, 2])) for rays in (before, after)]
    assert angle[1] < 0.85 * angle[0]  # it sees less


def test_the_resolution_of_the_source_does_not_matter():
    camera = tilted()
    double = replace(camera, intrinsics=np.diag([2.0, 2.0, 1.0]) @ camera.intrinsics, width=1600, height=1200)
    rows = [camera_params(SIZE, [each], [fit_camera(each, SIZE)]) for each in (camera, double)]
    np.testing.assert_allclose(*rows, atol=1e-6)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_how_a_camera_is_screwed_on_does_not_matter(quarters):
    """A camera rolled by quarter turns whose picture is turned upright is the camera that was not rolled."""
    (upright,) = ring_rig(1, 600, 600)
    half = quarters * np.pi / 4.0
    roll = make_transform([np.cos(half), 0.0, 0.0, np.sin(half)], np.zeros(3))
    rolled = replace(upright, ego_from_camera=upright.ego_from_camera @ roll)
    rows = [camera_params(SIZE, [each], [fit_camera(each, SIZE)]) for each in (upright, rolled)]
    np.testing.assert_allclose(*rows, atol=1e-6)


def test_a_mirrored_world_has_ordinary_cameras():
    """Mirror world and images of a symmetric rig: the front left camera becomes the front right one."""
    rig = ring_rig(6, 704, 256)
    affines = [fit_camera(camera, SIZE) for camera in rig]
    mirror = np.diag([1.0, -1.0, 1.0, 1.0])
    flip = np.array([[-1.0, 0.0, SIZE[1]], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    mirrored = [replace(camera, ego_from_camera=mirror @ camera.ego_from_camera) for camera in rig]
    rows = camera_params(SIZE, mirrored, [flip @ affine for affine in affines])
    np.testing.assert_allclose(rows, camera_params(SIZE, rig, affines)[[0, 5, 4, 3, 2, 1]], atol=1e-6)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("model", LENSES)
def test_rays_meet_what_the_pixels_show(model, views):
    """Whatever the lens and the crop: a point far along a ray is seen in the pixel that the ray belongs to."""
    camera = replace(tilted(), distortion_model=model, distortion=LENSES[model])
    affines = fit_views(camera, SIZE, views)
    positions, rays = split(camera_params(SIZE, [camera] * views, affines))
    sixths = np.array([1.0, 3.0, 5.0]) / 6.0
    v, u = np.meshgrid(sixths * SIZE[0], sixths * SIZE[1], indexing="ij")
    for position, of_view, affine in zip(positions, rays, affines, strict=True):
        pixels, _, _ = camera.project(position + 20.0 * of_view.reshape(-1, 3))
        shown = pixels @ affine[:2, :2].T + affine[:2, 2]
        np.testing.assert_allclose(shown, np.column_stack([u.ravel(), v.ravel()]), atol=2e-2)


def test_where_a_lens_sees_nothing_there_are_zeros():
    fisheye = replace(tilted(), distortion_model="equidistant", distortion=LENSES["equidistant"])
    narrow = np.diag([0.05, 0.05, 1.0])  # the picture fills a corner of the network image
    _, rays = split(camera_params(SIZE, [fisheye], [narrow]))
    seen = np.linalg.norm(rays[0], axis=-1)
    assert np.isfinite(rays).all() and not seen[2, 2]
    np.testing.assert_allclose(seen[seen > 0], 1.0, atol=1e-6)
