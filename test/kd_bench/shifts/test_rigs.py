"""`kd bench rigs`: truth restricted to what cameras see, masked cameras, and results that are kept."""

from dataclasses import replace

import numpy as np
import pytest
from support.synthetic import small_set

from kd_bench.options import EngineChoice
from kd_bench.progress import silent
from kd_bench.shifts.rigs import CASES, DATA, FRONT, RigBench, RigCase, score_of
from kd_perception.datasets.nuscenes import ground_truth_boxes, load_frame, open_nuscenes
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.evaluation.results import Results, sample_result, write_results
from kd_perception.geometry.classes import CLASSES
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, resource
from kd_perception.student.spec import load_student
from kd_synthetic.dataset.config import SynthConfig

AHEAD = RigCase("three ahead", "original", FRONT)


@pytest.fixture(scope="module")
def nusc(request):  # noqa: ANN201
    return open_nuscenes(small_set(request).out, SYNTHETIC_VERSION)


def truth_ahead(nusc, only_seen: bool) -> tuple[Results, set[str]]:  # noqa: ANN001
    """Truth as detections, all of it or what the three cameras ahead see, and the classes among what they see."""
    results, classes = {}, set()
    for sample in nusc.sample:
        frame = load_frame(nusc, sample["token"])
        boxes, points = ground_truth_boxes(nusc, sample["token"], frame.global_from_ego)
        cameras = [image.camera for image in frame.images if image.camera.name in FRONT]
        seen = np.any([camera.project(boxes.center)[2] for camera in cameras], axis=0)
        boxes_seen = boxes[seen]
        counted = boxes[seen & (points > 0)]
        classes |= {CLASSES[label] for label in counted.label[np.linalg.norm(counted.center[:, :2], axis=1) < 30.0]}
        kept = boxes_seen if only_seen else boxes
        results[sample["token"]] = sample_result(sample["token"], kept, frame.global_from_ego)
    return results, classes


def test_restricted_truth_is_what_the_cameras_see(nusc, tmp_path):
    """A student that finds all that three cameras see is perfect where only that counts, and poor where all counts."""
    results, classes = truth_ahead(nusc, only_seen=True)
    write_results(tmp_path / "results_nusc.json", results)
    seen = score_of(AHEAD, nusc, results, tmp_path, only_seen=True)
    everything = score_of(AHEAD, nusc, results, tmp_path, only_seen=False)
    assert len(classes) >= 3 and seen.mean_ap >= len(classes) / len(CLASSES) - 1e-6
    assert seen.translation < everything.translation + 1e-9 and everything.mean_ap < seen.mean_ap - 0.05


def test_detections_that_are_not_seen_do_not_count_either(nusc, tmp_path):
    some, _ = truth_ahead(nusc, only_seen=True)
    every, _ = truth_ahead(nusc, only_seen=False)
    scores = []
    for name, results in (("some", some), ("every", every)):
        write_results(tmp_path / name / "results_nusc.json", results)
        scores.append(score_of(AHEAD, nusc, results, tmp_path / name, only_seen=True))
    assert sum(map(len, every.values())) > sum(map(len, some.values()))
    assert scores[0] == scores[1]


def test_cameras_are_masked_and_detections_kept(nusc, tmp_path):
    bench = RigBench(load_student(resource(SHIPPED_SINGLE_FRAME_STUDENT)), EngineChoice("onnxruntime", 1), tmp_path)
    calls = []
    first = bench.detections(AHEAD, nusc, lambda done, total: calls.append(done))
    assert calls == list(range(1, len(nusc.sample) + 1))
    without_engine = replace(bench, engine=EngineChoice("no such engine"))
    assert without_engine.detections(AHEAD, nusc, silent) == first
    assert bench.detections(RigCase("all", "original"), nusc, silent) != first


def test_every_case_has_its_data_and_every_data_set_can_be_rendered(tmp_path):
    assert {case.data for case in CASES} == set(DATA)
    configs = [SynthConfig(tmp_path, scenes=1, **settings) for settings in DATA.values()]
    assert len({str(config.content) for config in configs}) == len(DATA)
