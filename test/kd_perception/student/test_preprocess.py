"""Preprocessing: where pixels land, encoded and raw images alike, and what bad images say."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import simplejpeg

from kd_perception.errors import DataError
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.transforms import make_transform
from kd_perception.student.preprocess import (
    HORIZON,
    VIEW_HORIZON,
    fit_camera,
    fit_image,
    fit_views,
    ignored_pixels,
    network_image,
)

SIZES = [
    ((900, 1600), (128, 352)),
    ((256, 704), (128, 352)),
    ((257, 703), (128, 352)),
    ((480, 640), (256, 704)),
    ((100, 200), (256, 704)),
]


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colour waves: enough structure to see a shift, no more than a coarse image can hold."""
    v, u = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(20 * u + 3 * v), np.cos(17 * v - 5 * u), np.sin(15 * (u + v))]
    return np.round(127.5 + 110 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize(("source", "network"), SIZES)
def test_fit_covers_centred_with_the_bottom_kept(source: tuple[int, int], network: tuple[int, int]):
    affine = fit_image(source, network)
    left, top = (affine @ [0.0, 0.0, 1.0])[:2]
    right, bottom = (affine @ [source[1], source[0], 1.0])[:2]
    assert bottom == pytest.approx(network[0]) and top <= 1e-9
    assert left == pytest.approx(network[1] - right) and left <= 1e-9
    assert top == pytest.approx(0.0) or left == pytest.approx(0.0)
    assert affine[0, 0] == affine[1, 1]


def test_half_scale_fit_is_exact():
    np.testing.assert_array_equal(fit_image((256, 704), (128, 352)), np.diag([0.5, 0.5, 1.0]))


def mounted(width: int, height: int, roll: float = 0.0, pitch: float = 0.0) -> Camera:
    """A forward camera with its principal point in the middle, tipped down by `pitch`, then rolled (radians)."""
    camera = ring_rig(1, width, height)[0]
    tip = make_transform([np.cos(-pitch / 2), np.sin(-pitch / 2), 0.0, 0.0], np.zeros(3))
    turn = make_transform([np.cos(roll / 2), 0.0, 0.0, np.sin(roll / 2)], np.zeros(3))
    return replace(camera, ego_from_camera=camera.ego_from_camera @ tip @ turn)


def test_a_camera_whose_horizon_stays_in_the_picture_is_fitted_as_its_image():
    for pitch in (0.0, 0.05, -0.05):
        camera = mounted(704, 256, 0.02, pitch)
        np.testing.assert_array_equal(fit_camera(camera, (128, 352)), fit_image((256, 704), (128, 352)))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 1024), (1000, 1000)])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_tall_pictures_keep_the_horizon_and_stand_upright_however_mounted(width: int, height: int, turns: int):
    if turns % 2:
        width, height = height, width
    camera = mounted(width, height, roll=turns * np.pi / 2)
    affine = fit_camera(camera, (128, 352))
    ahead = camera.ego_from_camera[:3, 3] + np.array([[5000.0, 0.0, 0.0], [50.0, 0.0, 2.0], [50.0, 2.0, 0.0]])
    pixels, _, seen = camera.project(ahead)
    horizon, above, left = pixels @ affine[:2, :2].T + affine[:2, 2]
    assert seen.all()
    np.testing.assert_allclose(horizon, [176.0, HORIZON * 128], atol=1e-6)
    assert above[1] < horizon[1] - 1 and left[0] < horizon[0] - 1  # up is up, and nothing is mirrored
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ affine[:2, :2].T + affine[:2, 2]
    assert (corners.min(axis=0) <= 1e-9).all() and (corners.max(axis=0) >= np.array([352, 128]) - 1e-9).all()


def test_what_a_turned_camera_sees_is_the_upright_picture():
    """The image of a camera mounted upside down, turned back: the pixels that an upright camera gives."""
    image = picture(480, 640)
    upright = network_image(image, (480, 640), fit_camera(mounted(640, 480), (128, 352)), (128, 352))
    turned = network_image(
        np.ascontiguousarray(image[::-1, ::-1]),
        (480, 640),
        fit_camera(mounted(640, 480, np.pi), (128, 352)),
        (128, 352),
    )
    np.testing.assert_allclose(turned.astype(int), upright.astype(int), atol=1)


def test_views_of_a_wide_camera_cover_it_side_by_side():
    camera = mounted(704, 256)
    assert len(fit_views(camera, (128, 352), 1)) == 1
    np.testing.assert_array_equal(fit_views(camera, (128, 352), 1)[0], fit_camera(camera, (128, 352)))
    for count in (2, 3, 5):
        views = fit_views(camera, (128, 352), count)
        borders = np.array([(np.array([0.0, 352.0]) - affine[0, 2]) / affine[0, 0] for affine in views])
        np.testing.assert_allclose([borders[0, 0], borders[-1, 1]], [0.0, 704.0], atol=1e-6)
        assert (borders[1:, 0] < borders[:-1, 1]).all()  # neighbours overlap
        ahead = camera.ego_from_camera[:3, 3] + np.array([[5000.0, 0.0, 0.0]])
        rows = [affine[1, :2] @ camera.project(ahead)[0][0] + affine[1, 2] for affine in views]
        np.testing.assert_allclose(rows, VIEW_HORIZON * 128, atol=0.1)
        assert all(affine[0, 0] == affine[1, 1] > 0.5 for affine in views)


def test_a_camera_that_looks_down_is_left_as_it_is():
    camera = mounted(640, 480, 1.0, np.radians(80.0))
    np.testing.assert_array_equal(fit_camera(camera, (128, 352)), fit_image((480, 640), (128, 352)))


@pytest.mark.parametrize(("source", "network"), SIZES)
@pytest.mark.parametrize("shift", [0.0, 7.3])
def test_a_spot_lands_where_the_affine_says(source: tuple[int, int], network: tuple[int, int], shift: float):
    """The centre of mass of a bright disc, raw and JPEG, for the plain and an augmented (zoomed, shifted) fit."""
    affine = (
        np.array([[1.0, 0.0, shift], [0.0, 1.0, -shift / 2], [0.0, 0.0, 1.0]])
        @ np.diag([0.9 if shift else 1.0] * 2 + [1.0])
        @ fit_image(source, network)
    )
    spot = np.array([0.6 * source[1], 0.7 * source[0]])
    v, u = np.mgrid[0 : source[0], 0 : source[1]] + 0.5
    sigma = 4.0 / affine[0, 0]
    image = (
        np.round(250 * np.exp(-((u - spot[0]) ** 2 + (v - spot[1]) ** 2) / (2 * sigma**2)))
        .astype(np.uint8)[..., None]
        .repeat(3, axis=2)
    )
    expected = (affine @ [*spot, 1.0])[:2]
    for given in (image, simplejpeg.encode_jpeg(image, 95), cv2.imencode(".png", image)[1].tobytes()):
        weight = network_image(given, source, affine, network)[..., 1].astype(float)
        weight[weight < 10] = 0.0
        rows, columns = np.mgrid[0 : network[0], 0 : network[1]] + 0.5
        found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
        np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize(("source", "network"), SIZES)
def test_encoded_and_raw_images_agree(source: tuple[int, int], network: tuple[int, int]):
    image, affine = picture(*source), fit_image(source, network)
    raw = network_image(image, source, affine, network).astype(int)
    assert raw.shape == (*network, 3)
    png = network_image(cv2.imencode(".png", image[..., ::-1])[1].tobytes(), source, affine, network)
    np.testing.assert_array_equal(png, raw)  # also: channels are RGB
    jpeg = network_image(simplejpeg.encode_jpeg(image, quality=98, colorsubsampling="444"), source, affine, network)
    assert np.abs(jpeg - raw).mean() < 1.5 and np.abs(jpeg - raw).max() < 12


def test_half_scale_of_a_raw_image_is_the_box_filter():
    image = np.random.default_rng(0).integers(0, 256, (256, 704, 3), dtype=np.uint8)
    expected = image.reshape(128, 2, 352, 2, 3).mean(axis=(1, 3))
    got = network_image(image, (256, 704), fit_image((256, 704), (128, 352)), (128, 352))
    assert np.abs(got - expected).max() <= 0.5


def test_fine_texture_does_not_alias():
    """A one-pixel checkerboard is grey at a quarter of its size, not a moire pattern."""
    image = (255 * (np.indices((900, 1600)).sum(axis=0) % 2)).astype(np.uint8)[..., None].repeat(3, axis=2)
    got = network_image(image, (900, 1600), fit_image((900, 1600), (128, 352)), (128, 352))
    assert got.std() < 2.0 and abs(got.mean() - 127.5) < 2.0


def test_outside_the_source_is_black():
    image = np.full((128, 352, 3), 200, np.uint8)
    half = np.array([[1.0, 0.0, 176.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    got = network_image(image, (128, 352), half, (128, 352))
    assert (got[:, :176] == 0).all() and (got[:, 177:] == 200).all()


def bad_images() -> dict[str, tuple[bytes | np.ndarray, str]]:
    image = picture(256, 704)
    jpeg = simplejpeg.encode_jpeg(image, 90)
    png = cv2.imencode(".png", image)[1].tobytes()
    return {
        "half a JPEG": (jpeg[: len(jpeg) // 2], "truncated or damaged"),
        "JPEG without its last bytes": (jpeg[:-3], "truncated or damaged"),
        "JPEG header only": (jpeg[:2], "truncated or damaged"),
        "empty": (b"", "image is empty"),
        "text": (b"no image at all", "no readable JPEG or PNG"),
        "half a PNG": (png[: len(png) // 2], "no readable JPEG or PNG"),
        "smaller JPEG": (
            simplejpeg.encode_jpeg(picture(128, 352), 90),
            "352x128 pixels but its calibration is for 704x256",
        ),
        "smaller array": (picture(128, 352), "352x128 pixels but its calibration is for 704x256"),
        "grey array": (image[..., 0], "uint8 RGB"),
        "four channels": (np.dstack([image, image[..., :1]]), "uint8 RGB"),
        "float array": (image.astype(np.float32), "uint8 RGB"),
    }


@pytest.mark.parametrize("kind", list(bad_images()))
def test_bad_images_are_refused_in_one_sentence(kind: str):
    image, sentence = bad_images()[kind]
    with pytest.raises(DataError, match=sentence):
        network_image(image, (256, 704), fit_image((256, 704), (128, 352)), (128, 352))


def test_any_truncation_of_a_jpeg_is_a_data_error():
    jpeg = simplejpeg.encode_jpeg(picture(64, 96), 90)
    for length in range(0, len(jpeg) - 2, 37):
        with pytest.raises(DataError):
            network_image(jpeg[:length], (64, 96), fit_image((64, 96), (32, 48)), (32, 48))


@pytest.mark.parametrize("scale", [0.07, 0.125, 0.21, 0.5, 0.7, 1.0, 1.6])
def test_nothing_of_what_is_ignored_remains_outside_the_networks_mask(scale):
    """Whatever stands there, the rest of the network's image is the same: also at the rim, where pixels are mixed."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, (300, 480, 3), np.uint8)
    ignored = np.zeros((300, 480), bool)
    ignored[170:231, 97:260] = True
    network = (round(300 * scale), round(480 * scale) + 5)
    affine = np.array([[scale, 0.0, 1.7], [0.0, scale, -2.3], [0.0, 0.0, 1.0]])
    other = np.where(ignored[..., None], rng.integers(0, 255, image.shape, np.uint8), image)
    first, second = (network_image(each, (300, 480), affine, network) for each in (image, other))
    mask = ignored_pixels(ignored, affine, network)
    assert mask.shape == network
    assert (first != second).any() and (first == second)[~mask].all()
    assert mask.sum() <= (61 * scale + 5) * (163 * scale + 5)
