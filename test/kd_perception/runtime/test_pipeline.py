"""The pipeline on painted images: what is painted is found, whatever the rig, the engine and the image format."""

import numpy as np
import pytest
import simplejpeg
from support.fake_student import HEIGHT, SIZE, YAW, paint, write_fake_student

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.preprocess import fit_views, network_image
from kd_perception.student.spec import Student, load_student

TRUTH = [((10.5, 3.5), "car"), ((-20.5, -3.5), "bus"), ((0.5, -15.5), "truck"), ((-8.5, 12.5), "car")]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return load_student(write_fake_student(tmp_path_factory.mktemp("student") / "fake.onnx"))


def painted(rig: list[Camera], truth: list = TRUTH) -> list[np.ndarray]:
    images = [np.full((camera.height, camera.width, 3), 60, np.uint8) for camera in rig]
    for xy, name in truth:
        assert paint(images, rig, xy, name) >= 1
    return images


def jpegs(images: list[np.ndarray]) -> list[bytes]:
    return [simplejpeg.encode_jpeg(image, 95) for image in images]


def wide_rig(cameras: int) -> list[Camera]:
    return ring_rig(cameras, 704, 256, np.radians(95.0))


def prepared(pipeline: Pipeline, images: list) -> FrameRecord:
    record = FrameRecord(images=images)
    pipeline.prepare(record)
    return record


def found(pipeline: Pipeline, images: list) -> dict[tuple[float, float], str]:
    boxes = pipeline.detect(images).boxes
    clear = boxes[boxes.score > 0.3]
    return {
        tuple(np.round(center[:2], 1)): CLASSES[label] for center, label in zip(clear.center, clear.label, strict=True)
    }


def assert_found(pipeline: Pipeline, images: list, truth: list = TRUTH) -> None:
    detected = found(pipeline, images)
    assert len(detected) == len(truth)
    for xy, name in truth:
        nearest = min(detected, key=lambda key: np.hypot(key[0] - xy[0], key[1] - xy[1]))
        assert np.hypot(nearest[0] - xy[0], nearest[1] - xy[1]) < 1.5 and detected[nearest] == name


@pytest.mark.parametrize("cameras", [4, 6, 8])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_painted_objects_are_found(student: Student, cameras: int, engine: str):
    rig = wide_rig(cameras)
    pipeline = Pipeline(student, engine, cameras, PipelineOptions(threads=1))
    pipeline.set_rig(rig)
    images = painted(rig)
    assert_found(pipeline, images)
    assert_found(pipeline, jpegs(images))


def test_boxes_are_complete_and_timed(student: Student):
    rig = wide_rig(6)
    pipeline = Pipeline(student, "openvino", 6, PipelineOptions(threads=1))
    pipeline.set_rig(rig)
    detections = pipeline.detect(painted(rig))
    best = detections.boxes[:1]
    np.testing.assert_allclose(best.size[0], SIZE, rtol=1e-5)
    assert best.yaw[0] == pytest.approx(YAW, abs=1e-6) and best.center[0, 2] == pytest.approx(HEIGHT)
    assert (np.diff(detections.boxes.score) <= 0).all()
    assert detections.missing == () and detections.rejected == {}
    assert set(detections.stage_ms) == {"preprocess", "inference", "decode", "total"}
    parts = sum(value for stage, value in detections.stage_ms.items() if stage != "total")
    assert detections.stage_ms["total"] == pytest.approx(parts)


def test_another_lens_and_resolution_change_nothing(student: Student):
    """The same world through distorted 1280x720 cameras: geometry comes from the calibration alone."""
    rig = [
        Camera(
            camera.name,
            np.array([[560.0, 0.0, 650.0], [0.0, 565.0, 350.0], [0.0, 0.0, 1.0]]),
            camera.ego_from_camera,
            1280,
            720,
            "plumb_bob",
            (-0.12, 0.01, 0.0005, -0.0005, 0.0),
        )  # fmt: skip
        for camera in ring_rig(6, 704, 256)
    ]
    pipeline = Pipeline(student, "openvino", 6, PipelineOptions(threads=1))
    pipeline.set_rig(rig)
    assert_found(pipeline, jpegs(painted(rig)))


def test_several_views_of_each_camera(student: Student):
    """The engine sees every view; to the caller there are cameras, and a bad image is told once."""
    rig = wide_rig(4)
    pipeline = Pipeline(student, "onnxruntime", 4, PipelineOptions(threads=1, views=2))
    pipeline.set_rig(rig)
    images = painted(rig)
    whole = prepared(pipeline, images).inputs
    assert whole["images"].shape[0] == 8 and whole["camera_valid"].tolist() == [1.0] * 8
    left, right = fit_views(rig[0], student.spec.image_size, 2)
    for view, affine in enumerate((left, right)):
        expected = network_image(images[0], (256, 704), affine, student.spec.image_size)
        np.testing.assert_array_equal(whole["images"][view], expected)
    record = prepared(pipeline, [images[0], None, b"no image", images[3]])
    assert record.inputs["camera_valid"].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert record.missing == (rig[1].name,) and list(record.rejected) == [rig[2].name]
    assert not record.inputs["images"][2:6].any()
    pipeline.infer(record)
    assert record.masked == {rig[1].name, rig[2].name} and record.engine == "onnxruntime"
    with pytest.raises(CalibrationError, match="has 2 cameras but the pipeline was opened for 4"):
        pipeline.set_rig(rig[:2])


def test_tables_follow_the_calibration(student: Student):
    rig = wide_rig(6)
    pipeline = Pipeline(student, "openvino", 6, PipelineOptions(threads=1))
    assert pipeline.set_rig(rig) is True
    assert pipeline.set_rig(wide_rig(6)) is False  # equal calibration, other objects
    turn = make_transform(quaternion_from_yaw(0.5), np.array([0.0, 0.0, 0.0]))
    turned = [Camera(c.name, c.intrinsics, turn @ c.ego_from_camera, c.width, c.height) for c in rig]
    images = painted(turned)
    with pytest.raises(AssertionError):
        assert_found(pipeline, images)  # the old calibration does not find them where they are
    assert pipeline.set_rig(turned) is True
    assert_found(pipeline, images)


def test_a_missing_camera_is_masked_and_named(student: Student):
    rig = wide_rig(6)
    pipeline = Pipeline(student, "openvino", 6, PipelineOptions(threads=1))
    pipeline.set_rig(rig)
    images = painted(rig)
    assert_found(pipeline, images)
    images[0] = None
    detections = pipeline.detect(images)
    assert detections.missing == ("camera0",) and detections.rejected == {}
    front = np.abs(np.arctan2(detections.boxes.center[:, 1], detections.boxes.center[:, 0])) < np.radians(12.0)
    assert not front.any()  # what only the missing camera sees leaves no trace of the frame before
    assert len(detections.boxes) >= 3


def test_an_image_that_cannot_be_used_is_rejected_and_the_rest_answers(student: Student):
    rig = wide_rig(6)
    pipeline = Pipeline(student, "openvino", 6, PipelineOptions(threads=1))
    pipeline.set_rig(rig)
    images = jpegs(painted(rig))
    images[1] = images[1][: len(images[1]) // 2]
    images[2] = simplejpeg.encode_jpeg(np.zeros((100, 100, 3), np.uint8))
    detections = pipeline.detect(images)
    assert set(detections.rejected) == {"camera1", "camera2"} and detections.missing == ()
    assert (
        detections.rejected["camera1"].startswith("camera 'camera1': JPEG image of")
        and "truncated" in detections.rejected["camera1"]
    )
    assert "100x100 pixels but its calibration is for 704x256" in detections.rejected["camera2"]
    assert len(detections.boxes) >= 2
    assert pipeline.detect(jpegs(painted(rig))).rejected == {}


def test_no_usable_image_is_no_boxes(student: Student):
    pipeline = Pipeline(student, "openvino", 6, PipelineOptions(threads=1))
    pipeline.set_rig(wide_rig(6))
    detections = pipeline.detect([None] * 5 + [b"junk"])
    assert detections.blind and not len(detections.boxes)
    assert len(detections.missing) == 5 and len(detections.rejected) == 1
    assert not pipeline.detect([b"junk"] * 5 + jpegs(painted(wide_rig(6)))[5:]).blind


def test_misuse_is_reported_in_one_sentence(student: Student):
    pipeline = Pipeline(student, "openvino", 6, PipelineOptions(threads=1))
    with pytest.raises(CalibrationError, match="no calibration yet; call set_rig"):
        pipeline.detect([None] * 6)
    with pytest.raises(CalibrationError, match="the rig has 4 cameras but the pipeline was opened for 6"):
        pipeline.set_rig(wide_rig(4))
    pipeline.set_rig(wide_rig(6))
    with pytest.raises(ValueError, match="5 images for a rig of 6 cameras"):
        pipeline.detect([None] * 5)
