"""Pictures show boxes where the geometry says they are."""

from dataclasses import replace

import numpy as np
import pytest
from support.painted import box, color_of, painted

from kd_perception.drawing.cameras import (
    box_lines,
    camera_grid,
    draw_camera,
    encode_image,
)
from kd_perception.drawing.style import BACKGROUND
from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.images.decoding import decode_image

FRONT = ring_rig(6, 800, 450)[0]


def test_wireframe_spans_the_projected_corners() -> None:
    boxes = box(15.0, 2.0, yaw=0.5)
    corners, _, seen = FRONT.project(boxes.corners()[0])
    assert seen.all()
    lines = np.concatenate(box_lines(boxes.corners()[0], FRONT))
    np.testing.assert_allclose([lines.min(axis=0), lines.max(axis=0)], [corners.min(axis=0), corners.max(axis=0)])
    for width in (800, 400):  # the same place whatever the picture's size
        picture = draw_camera(np.zeros((450, 800, 3), np.uint8), replace(FRONT, name=""), boxes, width=width)
        pixels = painted(picture, color_of("car"))
        label_free = pixels[pixels[:, 1] >= corners[:, 1].min() * width / 800 - 2]
        np.testing.assert_allclose(label_free.max(axis=0), corners.max(axis=0) * width / 800, atol=2.5)


def test_ground_truth_is_drawn_white() -> None:
    picture = draw_camera(
        np.zeros((450, 800, 3), np.uint8), replace(FRONT, name=""), Boxes.empty(), ground_truth=box(12.0, -1.0)
    )
    corners, _, _ = FRONT.project(box(12.0, -1.0).corners()[0])
    white = painted(picture, (255, 255, 255))
    np.testing.assert_allclose(
        [white.min(axis=0), white.max(axis=0)], [corners.min(axis=0), corners.max(axis=0)], atol=2
    )


def test_a_box_beside_the_camera_is_cut_not_mirrored() -> None:
    lines = box_lines(
        box(1.0, 1.6, 1.5).corners()[0], FRONT
    )  # reaches from behind the camera to 3 m ahead, on the left
    pixels = np.concatenate(lines)
    assert len(lines) < 12 and np.isfinite(pixels).all()
    assert pixels[:, 0].max() < FRONT.width / 2  # what lies left stays left


@pytest.mark.parametrize("position", [(-10.0, 0.0), (10.0, 40.0)])
def test_a_box_out_of_sight_draws_nothing(position) -> None:
    assert box_lines(box(*position).corners()[0], FRONT) == []
    blank = np.full((450, 800, 3), 7, np.uint8)
    with_box = draw_camera(blank, FRONT, box(*position))
    np.testing.assert_array_equal(with_box, draw_camera(blank, FRONT, Boxes.empty()))


def test_edges_bend_with_the_lens() -> None:
    bent = Camera(
        "c", FRONT.intrinsics, FRONT.ego_from_camera, 800, 450, "plumb_bob", (-0.25, 0.05, 0.001, -0.001, 0.0)
    )
    boxes = box(7.0, 3.0)
    pixels, _, seen = bent.project(boxes.corners()[0])
    assert seen.any()
    drawn = np.concatenate(box_lines(boxes.corners()[0], bent))
    for corner in pixels[seen]:
        assert np.linalg.norm(drawn - corner, axis=1).min() < 1e-6
    assert max(len(line) for line in box_lines(boxes.corners()[0], bent)) > 2


def test_a_fisheye_draws_what_stands_beside_and_behind_its_plane() -> None:
    fisheye = Camera(
        "c", np.array([[190.0, 0.0, 400.0], [0.0, 190.0, 225.0], [0.0, 0.0, 1.0]]), FRONT.ego_from_camera, 800, 450,
        "equidistant", (0.01, -0.001, 0.0, 0.0),
    )  # fmt: skip
    for boxes in (box(2.0, 9.0), box(-1.5, -9.0)):  # across the plane of the lens, wholly behind it
        pixels, _, seen = fisheye.project(boxes.corners()[0])
        assert seen.all() and not FRONT.project(boxes.corners()[0])[2].all()
        drawn = np.concatenate(box_lines(boxes.corners()[0], fisheye))
        for corner in pixels:
            assert np.linalg.norm(drawn - corner, axis=1).min() < 1e-6
        picture = draw_camera(np.zeros((450, 800, 3), np.uint8), replace(fisheye, name=""), boxes)
        assert len(painted(picture, color_of("car"))) > 100


def test_grid_lays_cameras_out_as_the_rig_sees_them() -> None:
    pictures = {
        name: np.full((20, 30, 3), i + 1, np.uint8)
        for i, name in enumerate(("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_BACK_RIGHT", "extra"))
    }
    grid = camera_grid(pictures)
    assert grid.shape == (60, 90, 3)
    assert (
        (grid[:20, :30] == 1).all()
        and (grid[:20, 30:60] == 2).all()
        and (grid[20:40, 60:] == 3).all()
        and (grid[40:, :30] == 4).all()
    )
    assert (grid[:20, 60:] == BACKGROUND).all()


def test_image_round_trip_and_damage() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    np.testing.assert_array_equal(decode_image(encode_image(picture, ".png"), "x"), picture)
    with pytest.raises(DataError, match=r"image here.jpg is empty \(0 bytes\)"):
        decode_image(b"", "here.jpg")
    for data in (b"no image", encode_image(picture, ".png")[:20]):
        with pytest.raises(DataError, match=r"image here.jpg of \d+ bytes is no readable JPEG or PNG"):
            decode_image(data, "here.jpg")
    with pytest.raises(DataError, match="image here.jpg: JPEG image of .* is truncated"):  # OpenCV paints the rest grey
        decode_image(encode_image(picture)[:-300], "here.jpg")
