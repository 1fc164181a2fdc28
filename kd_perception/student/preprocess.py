"""From a camera's image to the network's: decoded coarsely, resampled once, by one function for training and robot.

Pixel coordinates have centres at .5 (`geometry.camera`), so an affine map scales an image without half-pixel
corrections. JPEGs are decoded by libjpeg's scaled inverse DCT; a raw image gets the box filter of the same scale.
"""

import cv2
import numpy as np

from kd_perception.errors import DataError
from kd_perception.geometry.camera import Camera
from kd_perception.images.decoding import decode_image
from kd_perception.images.jpeg import decode_reduced_jpeg, is_jpeg, jpeg_size

HORIZON = 0.2  # share of the network image's height, from the top, that a camera's horizon keeps at least
VIEW_HORIZON = 0.3  # share of the height at which the horizon lies in each of several views, as in nuScenes
OVERLAP = 0.1  # share of a view that its neighbour shows as well
STEEP = 0.9  # cosine between a camera's axis and the vertical (26 degrees); steeper cameras have no upright
MAX_REDUCTION = 8  # libjpeg decodes a block of 8x8 coefficients to 8x8, 4x4, 2x2 or 1x1 pixels
SCALE_TOLERANCE = 1e-6


def fit_image(source_size: tuple[int, int], network_size: tuple[int, int]) -> np.ndarray:
    """Affine map `network_from_image` (3, 3) that fills the network image; sizes are (height, width) in pixels.

    Uniform scale that covers, centred horizontally; the bottom rows are kept: what does not fit is cropped from above.
    """
    (source_height, source_width), (height, width) = source_size, network_size
    scale = max(height / source_height, width / source_width)
    offset = ((width - scale * source_width) / 2.0, height - scale * source_height)
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]], [0.0, 0.0, 1.0]])


def fit_camera(camera: Camera, network_size: tuple[int, int]) -> np.ndarray:
    """`fit_image` for a mounted camera: turns the picture upright and keeps the horizon in it.

    A camera mounted upside down or on its side is turned by the nearest quarter turns. If keeping the bottom rows would
    put the horizon above `HORIZON` of the network image, the crop moves up until it stands there. Cameras that look
    steeply up or down have neither upright nor horizon and are fitted as they are.
    """
    up = camera.ego_from_camera[2, :3]  # ego's z axis in the camera's frame
    if abs(up[2]) > STEEP:
        return fit_image((camera.height, camera.width), network_size)
    upright = _quarter_turns(round(np.arctan2(-up[0], -up[1]) / (np.pi / 2.0)) % 4, camera.width, camera.height)
    size = (camera.height, camera.width) if abs(upright[0, 0]) > 0.5 else (camera.width, camera.height)
    fitted = fit_image(size, network_size)
    affine = fitted @ upright
    horizon = _horizon_row(camera, affine)
    if horizon is not None:
        affine[1, 2] += np.clip(HORIZON * network_size[0] - horizon, 0.0, -fitted[1, 2])
    return affine


def fit_views(camera: Camera, network_size: tuple[int, int], views: int) -> tuple[np.ndarray, ...]:
    """Affine maps (3, 3) of `views` network images of one camera: `fit_camera`, or crops of it side by side.

    A fisheye shows objects much smaller than the cameras that a student was trained on. Its crops show them larger,
    overlap by a tenth, and have the horizon at VIEW_HORIZON. The images are not warped: the lens stays in the geometry
    tables.
    """
    whole = fit_camera(camera, network_size)
    if views == 1:
        return (whole,)
    height, width = network_size
    horizon = _horizon_row(camera, whole)
    row = height / 2.0 if horizon is None else float(np.clip(horizon, 0.0, height))
    stands = row if horizon is None else VIEW_HORIZON * height
    zoom = max(1.0, views / (1.0 + OVERLAP))
    lefts = (width - width / zoom) * np.arange(views) / (views - 1)
    return tuple(
        np.array([[zoom, 0.0, -zoom * left], [0.0, zoom, stands - zoom * row], [0.0, 0.0, 1.0]]) @ whole
        for left in lefts
    )


def _horizon_row(camera: Camera, network_from_image: np.ndarray) -> float | None:
    """Row of the network image at which the horizon stands ahead of the camera; None if it looks steeply up or down."""
    up = camera.ego_from_camera[2, :3]
    if abs(up[2]) > STEEP:
        return None
    level = np.array([0.0, 0.0, 1.0]) - up[2] * up  # the camera's viewing direction, made horizontal
    pixel, visible = camera.project_local(1e4 * level[None])
    return float(network_from_image[1, :2] @ pixel[0] + network_from_image[1, 2]) if visible[0] else None


def _quarter_turns(turns: int, width: int, height: int) -> np.ndarray:
    """Affine map (3, 3) that turns an image of this size clockwise by quarter turns, its corner back at the origin."""
    quarter, turned = np.array([[0.0, -1.0], [1.0, 0.0]]), np.eye(3)  # u right, v down: u -> v is clockwise
    turned[:2, :2] = np.linalg.matrix_power(quarter, turns)
    corners = np.array([[0.0, 0.0], [width, height]]) @ turned[:2, :2].T
    turned[:2, 2] = -corners.min(axis=0)
    return turned


def network_image(
    image: bytes | memoryview | np.ndarray,
    source_size: tuple[int, int],
    network_from_image: np.ndarray,
    network_size: tuple[int, int],
) -> np.ndarray:
    """The network's view (height, width, 3) uint8 RGB of an encoded (JPEG, PNG) or raw (h, w, 3) uint8 RGB image.

    `source_size` (height, width) is the size the calibration was made for, `network_from_image` (3, 3) an affine map as
    `fit_image` gives, augmented or not. Pixels that fall outside the source are black. Raises DataError if the image is
    truncated, unreadable, or not of `source_size`.
    """
    reduced, reduction = coarse_image(image, source_size, network_from_image)
    network_from_reduced = network_from_image @ np.diag([reduction, reduction, 1.0])
    if reduced.shape[:2] == tuple(network_size) and np.allclose(network_from_reduced, np.eye(3), atol=1e-9):
        return reduced
    return _warp(reduced, network_from_reduced, network_size, cv2.INTER_LINEAR)


def ignored_pixels(ignored: np.ndarray, network_from_image: np.ndarray, network_size: tuple[int, int]) -> np.ndarray:
    """Pixels (height, width) bool of the network image into which `ignored` ones (H, W) of the camera's image enter.

    A pixel at the mask's rim mixes both, so it counts as ignored.
    """
    # A network pixel mixes its neighbours in the reduced image, whose pixels are at most as large as its own.
    reach = int(np.ceil(1.5 / _scale(network_from_image)))
    grown = cv2.dilate(ignored.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return _warp(grown, network_from_image, network_size, cv2.INTER_NEAREST).astype(bool)


def _warp(image: np.ndarray, to_from_image: np.ndarray, size: tuple[int, int], flags: int) -> np.ndarray:
    """The image under an affine map (3, 3) of coordinates with centres at .5; zero outside; `size` (height, width)."""
    # OpenCV centres pixels on integers: shift by half a pixel before and after.
    to_centre, from_centre = np.eye(3), np.eye(3)
    to_centre[:2, 2], from_centre[:2, 2] = 0.5, -0.5
    return cv2.warpAffine(image, (from_centre @ to_from_image @ to_centre)[:2], size[::-1], flags=flags)


def coarse_image(
    image: bytes | memoryview | np.ndarray, source_size: tuple[int, int], network_from_image: np.ndarray
) -> tuple[np.ndarray, int]:
    """First half of `network_image`: the RGB image at 1 / reduction of `source_size` (rounded up), and the reduction.

    The reduction is the largest of 1, 2, 4, 8 that leaves the image no coarser than the network's. Raises DataError.
    """
    reduction = _reduction(network_from_image)
    reduce = _reduced_raw if isinstance(image, np.ndarray) else _decode
    return reduce(image, source_size, reduction), reduction


def _reduction(network_from_image: np.ndarray) -> int:
    """Largest power of two (up to 8) by which the source may shrink and still be no coarser than the network image."""
    scale = _scale(network_from_image)
    reduction = 1
    while reduction < MAX_REDUCTION and scale * reduction * 2 <= 1.0 + SCALE_TOLERANCE:
        reduction *= 2
    return reduction


def _scale(network_from_image: np.ndarray) -> float:
    """Network pixels per pixel of the source."""
    return float(np.sqrt(abs(np.linalg.det(network_from_image[:2, :2]))))


def _decode(data: bytes | memoryview, source_size: tuple[int, int], reduction: int) -> np.ndarray:
    """Decoded RGB image, 1/reduction of `source_size` (rounded up)."""
    if not is_jpeg(data):
        return _reduced_raw(decode_image(data), source_size, reduction)
    _check_size(jpeg_size(data), source_size)
    return decode_reduced_jpeg(data, reduction)


def _reduced_raw(image: np.ndarray, source_size: tuple[int, int], reduction: int) -> np.ndarray:
    """A raw RGB image, box-filtered to 1/reduction of its size (rounded up; the last pixels repeat the border)."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(
            f"raw image has shape {image.shape} and type {image.dtype}, but uint8 RGB (height, width, 3) is needed; "
            "convert it"
        )
    _check_size(image.shape[:2], source_size)
    if reduction == 1:
        return image
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, -height % reduction, 0, -width % reduction, cv2.BORDER_REPLICATE)
    size = (padded.shape[1] // reduction, padded.shape[0] // reduction)
    return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)


def _check_size(size: tuple[int, int], source_size: tuple[int, int]) -> None:
    if tuple(size) != tuple(source_size):
        raise DataError(
            f"image is {size[1]}x{size[0]} pixels but its calibration is for {source_size[1]}x{source_size[0]}; "
            "publish the CameraInfo of this image size"
        )
