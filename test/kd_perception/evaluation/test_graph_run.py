"""Evaluation that can be trusted: `kd eval` and the node graph, fed from a bag, give the same detections and scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.domains import free_domain
from support.fake_student import write_fake_student
from support.nuscenes_tables import SCENES, VERSION, four_and_seven, write_dataset
from support.synthetic import small_set

from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.evaluation.graph_run import replay_bag
from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.predictions import detect_scenes
from kd_perception.evaluation.result_folder import LOGS_FOLDER
from kd_perception.evaluation.results import write_results
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.resources import SHIPPED_STUDENT, resource
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import load_student

pytest.importorskip("rclpy", reason="rclpy is not installed: the node graph cannot run")
ENGINE = "onnxruntime"
MAX_S = 120.0


@pytest.mark.ros
@pytest.mark.slow
def test_graph_and_dataset_evaluation_agree_on_known_objects_seen_by_two_rigs(tmp_path) -> None:
    data = write_dataset(tmp_path / "data", samples=18, sweeps=False, rigs=four_and_seven())
    nusc = open_nuscenes(data, VERSION)
    metrics = check_agreement(nusc, SCENES, write_fake_student(tmp_path / "fake.onnx"), ENGINE, tmp_path)
    assert metrics.mean_ap > 0.2  # of 0.4: four classes occur


@pytest.mark.ros
@pytest.mark.slow
def test_graph_and_dataset_evaluation_agree_on_the_shipped_student(request, tmp_path) -> None:
    pytest.importorskip("embreex", reason="embreex is not installed: no scene can be rendered")
    nusc = open_nuscenes(small_set(request).out, SYNTHETIC_VERSION)
    check_agreement(nusc, scene_names(nusc)[:1], resource(SHIPPED_STUDENT), "openvino", tmp_path)


def check_agreement(nusc, scenes, student: Path, engine: str, folder: Path) -> Metrics:
    """Evaluate both ways over `scenes`, compare detections and scores; returns the graph's."""
    direct = detect_scenes(
        RigPipelines(load_student(student), engine, PipelineOptions(threads=1)), nusc, scenes
    ).results
    through_graph = {}
    for scene in scenes:
        bag, keyframes = folder / scene, len(scene_samples(nusc, scene))
        write_scene(nusc, scene, bag)
        detector = DetectorOptions(model=student, engine=engine, threads=1)
        replay = ReplayOptions(bag=bag, lockstep=True)
        run = replay_bag(replay, detector, folder / f"out_{scene}", domain_id=free_domain(), timeout_s=MAX_S)
        assert (len(run.stages), run.frames_in) == (keyframes, keyframes)  # every keyframe answered
        through_graph |= run.results

    assert_same_detections(direct, through_graph, at_least=100 * len(scenes))
    scores = []
    for name, results in (("direct", direct), ("graph", through_graph)):
        write_results(folder / f"{name}.json", results)
        scores.append(evaluate_results(nusc, folder / f"{name}.json", scenes))
    assert scores[0].mean_ap == pytest.approx(scores[1].mean_ap, abs=0.001)
    assert scores[0].nds == pytest.approx(scores[1].nds, abs=0.001)
    return scores[1]


def assert_same_detections(first: dict, second: dict, at_least: int) -> None:
    """The same samples with the same boxes, row for row."""
    assert first.keys() == second.keys()
    assert sum(map(len, first.values())) >= at_least
    for token, rows in first.items():
        assert len(rows) == len(second[token])
        for one, other in zip(rows, second[token], strict=True):
            assert one["detection_name"] == other["detection_name"] and one["attribute_name"] == other["attribute_name"]
            assert one["detection_score"] == pytest.approx(other["detection_score"], abs=1e-6)
            for field in ("translation", "size", "rotation", "velocity"):
                np.testing.assert_allclose(one[field], other[field], atol=1e-6, err_msg=f"{field} in {token}")


@pytest.mark.ros
def test_real_time_replay_counts_what_was_offered_and_times_what_was_answered(tmp_path) -> None:
    nusc = open_nuscenes(write_dataset(tmp_path / "data"), VERSION)
    student = write_fake_student(tmp_path / "fake.onnx")
    write_scene(nusc, SCENES[0], tmp_path / "bag")
    run = replay_bag(
        ReplayOptions(bag=tmp_path / "bag", rate=0.25),  # a busy machine takes longer than a frame's period
        DetectorOptions(model=student, engine=ENGINE, threads=1),
        tmp_path / "out",
        domain_id=free_domain(),
        timeout_s=MAX_S,
    )
    report = run.report("painted", ENGINE)
    assert report.frames_in == 5  # three keyframes, two frames between
    outcomes = [json.loads(line)["outcome"] for line in (tmp_path / "out" / "status.jsonl").read_text().splitlines()]
    assert report.frames_answered == len(run.stages) == outcomes.count("answered") > 0
    lost = 5 - len(outcomes)  # overwritten before they were taken: no frame begins, but the detector says it
    assert report.frames_dropped == outcomes.count("dropped") + lost == 5 - report.frames_answered
    log = (tmp_path / "out" / LOGS_FOLDER / "bev_student.log").read_text()
    assert lost == 0 or "images are lost on the way" in log
    assert {"preprocess", "inference", "decode", "total"} <= set(report.latency_ms)
    assert (tmp_path / "out" / "detections" / "metadata.yaml").is_file()
    assert json.loads((tmp_path / "out" / "results_nusc.json").read_text())["results"].keys() == run.results.keys()
