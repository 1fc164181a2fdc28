"""Masks of the robot's own body: read or refused in a sentence, black for the network, and out of the grid's sight."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.fake_student import SPEC, paint, write_fake_student

from kd_perception.errors import CalibrationError, ConfigError
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.runtime.ignore_mask import load_ignore_masks
from kd_perception.runtime.pipeline import IMAGES_INPUT, Pipeline, PipelineOptions
from kd_perception.student.preprocess import fit_camera
from kd_perception.student.spec import ViewSpec, load_student
from kd_perception.student.view_tables.splat import splat_cells

SIZE = (256, 704)  # height, width
BODY = "size: [704, 256]\npolygons:\n  - [[0, 200], [704, 200], [704, 256], [0, 256]]\n"


def write(path: Path, content: str | np.ndarray) -> Path:
    if isinstance(content, str):
        path.write_text(content)
    else:
        assert cv2.imwrite(str(path), content)
    return path


def test_a_picture_and_a_polygon_say_the_same(tmp_path):
    picture = np.zeros(SIZE, np.uint8)
    picture[200:] = 255
    files = write(tmp_path / "a.png", picture), write(tmp_path / "b.yaml", BODY)
    masks = load_ignore_masks([f"a={files[0]}", f"b={files[1]}"], ("a", "b", "c"))
    assert masks["a"].dtype == bool and masks["a"].shape == SIZE
    np.testing.assert_array_equal(masks["a"], picture > 0)
    np.testing.assert_array_equal(masks["b"], picture > 0)


def test_a_coloured_picture_and_several_polygons(tmp_path):
    picture = np.full((64, 96, 3), (30, 40, 20), np.uint8)
    picture[:10, :10] = 250
    polygons = (
        "size: [96, 64]\npolygons: [[[0, 0], [10, 0], [10, 10], [0, 10]], [[90, 0], [96, 0], [96, 64], [90, 64]]]"
    )
    masks = load_ignore_masks(
        [f"a={write(tmp_path / 'a.PNG', picture)}", f"b={write(tmp_path / 'b.yml', polygons)}"], ("a", "b")
    )
    assert masks["a"].sum() == 100 and masks["b"].sum() == 100 + 6 * 64


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("side.png", BODY, "no readable PNG"),
        ("front.yaml", "size: [", "no readable YAML"),
        ("front.yaml", "polygons: []", "must have the keys size"),
        ("front.yaml", BODY.replace("[704, 256]\n", "[704]\n", 1), "must be [width, height]"),
        (
            "front.yaml",
            BODY.replace("[0, 256]]", "[0, 257]]"),
            "polygon 1 has the point 0, 257 outside the picture of 704",
        ),
        ("front.yaml", BODY.replace("[0, 200]", "[-3, 200]"), "the point -3, 200 outside"),
        ("front.yaml", "size: [704, 256]\npolygons: [[[0, 0], [5, 5]]]", "three or more points"),
        ("front.yaml", "size: [704, 256]\npolygons: 3", "three or more points"),
        ("front.yaml", BODY.replace("200", ".nan"), "three or more points"),
        ("front.png", np.full(SIZE, 255, np.uint8), "covers 100 % of the picture; white is what is ignored"),
        ("front.jpg", np.zeros(SIZE, np.uint8), "is neither a picture (.png) nor polygons"),
    ],
)
def test_what_is_no_mask_is_refused_in_a_sentence(tmp_path, name, content, text):
    with pytest.raises(ConfigError) as refusal:
        load_ignore_masks([f"front={write(tmp_path / name, content)}"], ("front",))
    assert text in str(refusal.value) and "\n" not in str(refusal.value) and name in str(refusal.value)


def test_a_camera_or_file_that_is_not_there_is_refused(tmp_path):
    mask = write(tmp_path / "front.yaml", BODY)
    with pytest.raises(ConfigError, match="names camera 'fornt', but the cameras are front, back"):
        load_ignore_masks([f"fornt={mask}"], ("front", "back"))
    with pytest.raises(ConfigError, match="does not exist"):
        load_ignore_masks([f"front={tmp_path / 'gone.png'}"], ("front",))
    with pytest.raises(ConfigError, match="is not NAME=FILE"):
        load_ignore_masks([str(mask)], ("front",))


def test_a_mask_of_another_size_is_refused_by_the_camera():
    camera = ring_rig(1, 704, 256)[0]
    with pytest.raises(
        CalibrationError, match="ignore_mask is for pictures of 70x26 pixels, but its CameraInfo is for 704x256"
    ):
        replace(camera, ignored=np.zeros((26, 70), bool))


def around(rig: list[Camera], index: int, xy: tuple[float, float], reach: int = 40) -> np.ndarray:
    """A mask of the pixels about where a camera sees a place."""
    (u, v), mask = rig[index].project(np.array([[*xy, 0.75]]))[0][0].astype(int), np.zeros(SIZE, bool)
    mask[max(0, v - reach) : v + reach, max(0, u - reach) : u + reach] = True
    return mask


def test_what_is_ignored_is_black_and_not_found(tmp_path):
    rig = ring_rig(3, 704, 256, np.radians(130.0))
    pipeline = Pipeline(
        load_student(write_fake_student(tmp_path / "fake.onnx")), "onnxruntime", 3, PipelineOptions(threads=1)
    )
    images = [np.full((*SIZE, 3), 60, np.uint8) for _ in rig]
    hidden, shared = (12.0, 1.0), (5.0, 8.5)  # seen by the first camera, and by two of them
    assert (paint(images, rig, hidden, "car"), paint(images, rig, shared, "truck")) == (1, 2)
    pipeline.set_rig(rig)
    assert len(pipeline.detect(images).boxes) == 2

    masked = [replace(rig[0], ignored=around(rig, 0, hidden) | around(rig, 0, shared)), *rig[1:]]
    assert pipeline.set_rig(masked)
    found = pipeline.detect(images)
    np.testing.assert_allclose(found.boxes.center[:, :2], [shared], atol=1.5)  # the other camera sees it still
    black = (found.inputs[IMAGES_INPUT][0] == 0).all(axis=-1)
    share = masked[0].ignored.mean()
    assert share < black.mean() < 1.5 * share
    assert not (found.inputs[IMAGES_INPUT][1:] == 0).any()
    assert not pipeline.set_rig([replace(camera) for camera in masked])  # nothing to build again
    assert pipeline.set_rig(rig)


def test_no_point_of_a_splat_comes_from_ignored_pixels():
    view = ViewSpec("splat", stride=16, depth=SPEC.view.depth, heights=(), z_range=(-5.0, 3.0))
    camera = ring_rig(1, 704, 256)[0]
    mask = np.zeros(SIZE, bool)
    mask[:, :352] = True

    def cells(camera: Camera) -> np.ndarray:
        affine = fit_camera(camera, (128, 352))
        return splat_cells(SPEC.grid, (128, 352), view, [camera], [affine]).reshape(-1, 8, 22)

    before, after = cells(camera), cells(replace(camera, ignored=mask))
    assert (before[..., :11] >= 0).any() and (after[..., :11] == -1).all()
    np.testing.assert_array_equal(after[..., 11:], before[..., 11:])
