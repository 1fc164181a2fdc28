"""The students that take most, BEVDepth with memory and BEVFormer, through the node graph: memory warped by odometry
from tf, and camera parameters and reference points of CameraInfo, give what `kd eval` finds with the data set's own
poses and calibration."""

from pathlib import Path

import numpy as np
import pytest
from support.domains import free_domain
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.students import SHIPPED_SIZES, narrow_student, shake

from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.evaluation.graph_run import replay_bag
from kd_perception.evaluation.predictions import FrameFeed, detect_scenes
from kd_perception.evaluation.result_folder import STATUS_FILE, read_statuses
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.box_codes import AXIS
from kd_perception.student.spec import load_student
from kd_training.checkpoints.export import export_student

pytest.importorskip("rclpy", reason="rclpy is not installed: the node graph cannot run")
KEYFRAMES = 4
THRESHOLDS = {"bevdepth4d": 0.9, "bevformer": 0.5}  # what random weights give few cells


def write_student(path: Path, kind: str) -> Path:
    """Random weights: what it finds means nothing, but depends on every input."""
    export_student(shake(narrow_student(kind, **SHIPPED_SIZES)), path, {}, {}, {})
    return path


def share_found(first: dict, second: dict) -> float:
    """Share of the boxes of `first` that stand in `second`: same place, score and velocity, in units of its code.

    Random weights leave ties, which turn out one way or the other.
    """
    found = total = 0
    for one, other in zip(first.values(), second.values(), strict=True):
        mine, theirs = (np.array([_numbers(row) for row in rows]) for rows in (one, other))
        found += (np.abs(mine[:, None] - theirs[None]) < 1e-4).all(axis=2).any(axis=1).sum()
        total += len(mine)
    return found / total


def _numbers(row: dict) -> list[float]:
    velocity = np.array(row["velocity"]) / AXIS.velocity_unit
    return [*row["translation"][:2], row["detection_score"], *velocity]


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("kind", THRESHOLDS)
def test_graph_and_dataset_evaluation_agree_on_a_student_that_takes_most(tmp_path, kind) -> None:
    nusc = open_nuscenes(write_dataset(tmp_path / "data", samples=KEYFRAMES, sweeps=False), VERSION)
    student = write_student(tmp_path / "student.onnx", kind)
    scene, threshold = SCENES[0], THRESHOLDS[kind]

    def direct(with_pose: bool) -> dict:
        options = PipelineOptions(score_threshold=threshold, threads=1)
        return detect_scenes(
            RigPipelines(load_student(student), "onnxruntime", options), nusc, [scene], FrameFeed(with_pose=with_pose)
        ).results

    write_scene(nusc, scene, tmp_path / "bag")
    detector = DetectorOptions(model=student, engine="onnxruntime", score_threshold=threshold, threads=1)
    replay = ReplayOptions(bag=tmp_path / "bag", lockstep=True)
    run = replay_bag(replay, detector, tmp_path / "out", domain_id=free_domain(), timeout_s=120)
    statuses = read_statuses(tmp_path / "out" / STATUS_FILE)
    assert [status.memory_state for status in statuses] == ["empty"] + ["used"] * (KEYFRAMES - 1)
    expected, without = direct(with_pose=True), direct(with_pose=False)
    assert all(len(rows) > 10 for rows in run.results.values())
    assert min(share_found(expected, run.results), share_found(run.results, expected)) > 0.95
    assert share_found(expected, without) < 0.5  # the memory does count
