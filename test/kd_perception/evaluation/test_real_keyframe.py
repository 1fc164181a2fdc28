"""The real nuScenes keyframe (scene-0061) through bag, node graph and pictures."""

import cv2
import numpy as np
import pytest
from support.domains import free_domain
from support.fake_student import write_fake_student
from support.painted import color_of
from support.real_data import REAL_DATA

from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import (
    ego_pose,
    ground_truth_boxes,
    load_frame,
    open_nuscenes,
    read_lidar,
    scene_samples,
    sensor_transform,
)
from kd_perception.datasets.rigs import LIDAR
from kd_perception.evaluation.graph_run import replay_bag
from kd_perception.evaluation.pictures import draw_sample, load_surroundings, write_pictures
from kd_perception.evaluation.predictions import detect_scenes
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.transforms import apply, invert
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import load_student

SCENE = "scene-0061"
pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def nusc():
    if not (REAL_DATA / "nuscenes-real").is_dir():
        pytest.skip(f"the real nuScenes keyframe is not in {REAL_DATA}; set KD_REAL_DATA")
    return open_nuscenes(REAL_DATA / "nuscenes-real", "v1.0-mini")


@pytest.fixture(scope="module")
def truth(nusc) -> tuple[Boxes, np.ndarray]:
    token = scene_samples(nusc, SCENE)[0]
    return ground_truth_boxes(nusc, token, load_frame(nusc, token).global_from_ego)


@pytest.mark.ros
def test_graph_answers_as_the_data_set_evaluation_does(nusc, tmp_path) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: the node graph cannot run")
    student = write_fake_student(tmp_path / "fake.onnx")
    direct = detect_scenes(
        RigPipelines(load_student(student), "onnxruntime", PipelineOptions(score_threshold=0.02, threads=1)),
        nusc,
        [SCENE],
    )
    write_scene(nusc, SCENE, tmp_path / "bag")
    run = replay_bag(
        ReplayOptions(bag=tmp_path / "bag", lockstep=True),
        DetectorOptions(model=student, engine="onnxruntime", score_threshold=0.02, threads=1),
        tmp_path / "out",
        domain_id=free_domain(),
        timeout_s=120,
    )
    assert (run.frames_in, len(run.stages)) == (1, 1)
    (token,) = scene_samples(nusc, SCENE)
    assert len(run.results[token]) == len(direct.results[token]) > 0
    for one, other in zip(direct.results[token], run.results[token], strict=True):
        np.testing.assert_allclose(one["translation"], other["translation"], atol=1e-6)
        assert one["detection_name"] == other["detection_name"]


def test_ground_truth_boxes_hold_the_lidar_points_that_the_tables_count(nusc, truth) -> None:
    """Boxes in ego at the camera's time, points through two poses and a mounting: every convention must be right."""
    boxes, points_of_tables = truth
    token = scene_samples(nusc, SCENE)[0]
    row = nusc.get("sample_data", nusc.get("sample", token)["data"][LIDAR])
    ego_from_lidar = invert(load_frame(nusc, token).global_from_ego) @ ego_pose(nusc, row) @ sensor_transform(nusc, row)
    points = apply(ego_from_lidar, read_lidar(nusc, row)[:, :3].astype(np.float64))
    counts = []
    for i in range(len(boxes)):
        cos, sin = np.cos(boxes.yaw[i]), np.sin(boxes.yaw[i])
        local = (points - boxes.center[i]) @ np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        counts.append(int((np.abs(local) <= boxes.size[i] / 2.0).all(axis=1).sum()))
    difference = np.abs(np.array(counts) - points_of_tables).sum()
    assert difference <= 0.1 * points_of_tables.sum()  # boxes stand upright in ego, so they lose or gain some ground


def test_pictures_show_the_boxes_on_the_objects(nusc, truth, tmp_path) -> None:
    """Drawn in the class's colour where the object projects: here the parked truck ahead on the left."""
    boxes, _ = truth
    token = scene_samples(nusc, SCENE)[0]
    nearest_truck = min(
        np.nonzero(boxes.label == CLASSES.index("truck"))[0], key=lambda i: np.linalg.norm(boxes.center[i])
    )
    picture = draw_sample(load_surroundings(nusc, token), boxes[[nearest_truck]])
    write_pictures(tmp_path, [picture])
    assert picture.grid().shape == (720, 1920, 3)
    assert cv2.imread(str(tmp_path / f"00_{SCENE}.jpg")).shape == picture.overview().shape == (1080, 2360, 3)
    front = next(image.camera for image in load_frame(nusc, token).images if image.camera.name == "CAM_FRONT")
    pixels, _, seen = front.project(boxes.corners()[nearest_truck])
    assert seen.all()
    drawn = np.abs(picture.cameras["CAM_FRONT"].astype(int) - color_of("truck")).sum(axis=2) < 60
    rows, columns = np.nonzero(drawn)
    low, high = pixels.min(axis=0) * 640 / 1600, pixels.max(axis=0) * 640 / 1600
    assert low[0] - 4 <= np.percentile(columns, 1) and np.percentile(columns, 99) <= high[0] + 4
    assert columns.max() - columns.min() > 0.9 * (high[0] - low[0]) and rows.max() - rows.min() > 0.9 * (
        high[1] - low[1]
    )
