"""`kd eval` over real rigs of 3 and 6 cameras in one data set: real tables, pictures painted where real boxes are."""

import json
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from support.fake_student import paint, write_fake_student
from support.real_data import real_data

from kd_perception.datasets.nuscenes import Frame, ground_truth_boxes, load_frame, open_nuscenes
from kd_perception.evaluation.offline import evaluate
from kd_perception.evaluation.results import boxes_of_result, read_results
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.matching import match
from kd_perception.geometry.transforms import wrap_angle
from kd_perception.student.preprocess import fit_camera

VERSION = "v1.0-both"
NEAREST, FARTHEST = 6.0, 25.0  # metres
APART = 0.25  # radians between bearings: nothing is painted over another


def both(root: Path) -> Path:
    """The tables of DDAD's scene (three cameras) and of nuScenes' (six) as one data set."""
    (root / VERSION).mkdir(parents=True)
    sources = [real_data("ddad-real") / "v1.0-ddad", real_data("nuscenes-real") / "v1.0-mini"]
    for path in sources[0].glob("*.json"):
        rows = {row["token"]: row for source in sources for row in json.loads((source / path.name).read_text())}
        (root / VERSION / path.name).write_text(json.dumps(list(rows.values())))
    return root


def in_view(frame: Frame, boxes: Boxes) -> Boxes:
    """Boxes near enough that stand alone, whose middle is well inside some camera's part that the network sees."""
    places = np.column_stack([boxes.center[:, :2], np.full(len(boxes), 0.75)])
    seen = np.zeros(len(boxes), bool)
    for image in frame.images:
        pixels, _, inside = image.camera.project(places)
        affine = fit_camera(image.camera, (64, 176))
        u, v = (pixels @ affine[:2, :2].T + affine[:2, 2]).T
        seen |= inside & (u > 12) & (u < 164) & (v > 12) & (v < 52)
    distance = np.linalg.norm(boxes.center[:, :2], axis=1)
    bearing = np.arctan2(boxes.center[:, 1], boxes.center[:, 0])
    chosen: list[int] = []
    for index in np.argsort(distance):
        apart = np.abs(wrap_angle(bearing[chosen] - bearing[index]))
        if seen[index] and NEAREST < distance[index] < FARTHEST and (apart > APART).all():
            chosen.append(index)
    return boxes[np.array(chosen, int)]


@pytest.mark.real_data
def test_what_the_cameras_of_each_rig_see_is_found(tmp_path):
    nusc = open_nuscenes(both(tmp_path / "data"), VERSION)
    expected = {}
    for token in (row["token"] for row in nusc.sample):
        frame = load_frame(nusc, token)
        pictures = [np.full((image.camera.height, image.camera.width, 3), 60, np.uint8) for image in frame.images]
        boxes = in_view(frame, ground_truth_boxes(nusc, token, frame.global_from_ego)[0])
        for index in range(len(boxes)):
            cameras = [image.camera for image in frame.images]
            cell = np.floor(boxes.center[index, :2]) + 0.5  # a narrow lens shows the next cell's middle far away
            assert paint(pictures, cameras, cell, CLASSES[boxes.label[index]])
        for image, picture in zip(frame.images, pictures, strict=True):
            image.path.parent.mkdir(parents=True, exist_ok=True)
            image.path.write_bytes(simplejpeg.encode_jpeg(picture, 95, "RGB", "444"))
        expected[token] = (frame, boxes)
    assert sorted(len(frame.images) for frame, _ in expected.values()) == [3, 3, 3, 6]
    student = write_fake_student(tmp_path / "fake.onnx")
    where = {"dataroot": tmp_path / "data", "version": VERSION, "out": tmp_path / "out"}
    evaluate(student=student, engine="onnxruntime", threads=1, **where)
    results = read_results(tmp_path / "out" / "results_nusc.json")
    for token, (frame, boxes) in expected.items():
        found = match(boxes_of_result(results[token], frame.global_from_ego), boxes).found
        assert len(boxes) >= 2 and found.all(), (frame.scene, boxes.center[~found])
    assert (tmp_path / "out" / "report.html").is_file() and len(list((tmp_path / "out" / "pictures").iterdir())) == 4
