"""What a teacher finds in training it finds on a robot: the same sweeps, from files or from live clouds, give the same
boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.clouds import lidar_rows
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import teacher_run

from kd_perception.datasets.nuscenes import ego_pose, read_lidar, sensor_transform
from kd_perception.geometry.transforms import invert
from kd_perception.parity.tolerances import have_partner
from kd_perception.runtime.lidar_pipeline import LidarPipeline
from kd_perception.student.decode import decode
from kd_perception.teacher.clouds import Sweep
from kd_perception.teacher.spec import open_teacher
from kd_training.checkpoints.export_teacher import export_teacher
from kd_training.config.sections import DataRoot
from kd_training.config.teacher import PointsConfig
from kd_training.data.frames import open_frames
from kd_training.evaluation.teacher import TeacherDetector
from kd_training.models.teachers import build_teacher

SWEEPS = 3


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_training_and_robot_find_the_same_boxes(tmp_path, engine):
    root = write_dataset(tmp_path / "data")
    config = replace(teacher_run(root).teacher, points=PointsConfig(sweeps=SWEEPS, per_pillar=0, most=20000))
    torch.manual_seed(0)
    model = build_teacher(config).eval()
    export_teacher(model, tmp_path / "teacher.onnx", {}, {})
    teacher, frame = (
        open_teacher(tmp_path / "teacher.onnx"),
        open_frames([DataRoot(root=str(root), version=VERSION)])[2],
    )

    heatmap, regression = TeacherDetector(model).outputs(frame)
    threshold = float(np.quantile(heatmap, 0.995))  # random weights: what they find means nothing
    expected = decode(heatmap, regression, model.grid, threshold, classes=model.classes, coding=model.coding)
    pipeline = LidarPipeline(teacher, engine, score_threshold=threshold - 1e-4)
    now_us, sweeps = frame.lidar["timestamp"], []
    for row in lidar_rows(frame)[:SWEEPS]:
        motion = invert(frame.frame.global_from_ego) @ ego_pose(frame.nusc, row)
        points, mounting = read_lidar(frame.nusc, row), sensor_transform(frame.nusc, row)
        sweeps.append(Sweep(points, mounting, motion, (now_us - row["timestamp"]) / 1e6))
    record = pipeline.detect(sweeps, now_us * 1000)
    assert len(expected) > 3 and have_partner(expected, record.boxes).mean() > 0.9
    assert len(np.unique(record.inputs["points"][:, 4])) == SWEEPS  # each sweep has its age
