"""Our metric for any classes is nuscenes-devkit's on its ten, to the last digits; what only other classes can be."""

from dataclasses import replace

import numpy as np
import pytest
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.detection.algo import accumulate, calc_ap, calc_tp
from nuscenes.eval.detection.config import config_factory
from nuscenes.eval.detection.data_classes import DetectionBox

from kd_perception.evaluation.center_distance import DISTANCES, ERRORS, ScoredSample, score_samples
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList, HeadGroup
from kd_perception.geometry.transforms import quaternion_from_yaw

DEVKIT_ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")  # in the order of ERRORS
ATTRIBUTES = ("", "vehicle.moving", "vehicle.parked", "pedestrian.moving")


def random_boxes(rng: np.random.Generator, count: int) -> Boxes:
    return Boxes(
        center=rng.uniform(-20, 20, (count, 3)),
        size=rng.uniform(0.4, 5, (count, 3)),
        yaw=rng.uniform(-np.pi, np.pi, count),
        velocity=np.where(rng.random((count, 1)) < 0.1, np.nan, rng.normal(0, 4, (count, 2))),
        label=rng.integers(0, len(NUSCENES) - 1, count),  # of the last class there is nothing
        score=rng.random(count),
    )


def random_sample(rng: np.random.Generator) -> ScoredSample:
    """Ground truth, and predictions that move it a little, turn it, miss some and invent others."""
    truth = random_boxes(rng, 30)
    moved = replace(
        truth,
        center=truth.center + rng.normal(0, 1.0, (30, 3)),
        size=truth.size * rng.uniform(0.7, 1.4, (30, 3)),
        yaw=truth.yaw + rng.normal(0, 1.5, 30),
        velocity=np.nan_to_num(truth.velocity) + rng.normal(0, 1.0, (30, 2)),
        score=np.round(rng.random(30), 2),  # some are equal
    )
    found = Boxes.concatenate([moved[rng.random(30) < 0.8], replace(random_boxes(rng, 8), velocity=np.zeros((8, 2)))])
    return ScoredSample(
        truth, list(rng.choice(ATTRIBUTES, len(truth))), found, list(rng.choice(ATTRIBUTES, len(found)))
    )


def devkit_boxes(samples: list[ScoredSample], *, truth: bool) -> EvalBoxes:
    boxes = EvalBoxes()
    for number, sample in enumerate(samples):
        rows = sample.ground_truth if truth else sample.predictions
        names = sample.ground_truth_attributes if truth else sample.prediction_attributes
        boxes.add_boxes(
            str(number),
            [
                DetectionBox(
                    sample_token=str(number),
                    translation=tuple(rows.center[i]),
                    size=tuple(rows.size[i, [1, 0, 2]]),
                    rotation=tuple(quaternion_from_yaw(float(rows.yaw[i]))),
                    velocity=tuple(rows.velocity[i]),
                    detection_name=rows.class_of(i).name,
                    detection_score=-1.0 if truth else float(rows.score[i]),
                    attribute_name=str(names[i]),
                )
                for i in range(len(rows))
            ],
        )
    return boxes


@pytest.mark.parametrize("seed", range(3))
def test_on_its_classes_it_is_the_devkits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [random_sample(rng) for _ in range(6)]
    scores = score_samples(samples, NUSCENES)
    config = config_factory("detection_cvpr_2019")
    truth, found = devkit_boxes(samples, truth=True), devkit_boxes(samples, truth=False)
    assert scores.mean_ap > 0.05
    for kind in NUSCENES.classes:
        ours = scores.classes[kind.name]
        data = {d: accumulate(truth, found, kind.name, config.dist_fcn_callable, d) for d in DISTANCES}
        for distance, ap in zip(DISTANCES, ours.aps, strict=True):
            assert ap == pytest.approx(calc_ap(data[distance], 0.1, 0.1), abs=1e-9), (kind.name, distance)
        for name, theirs in zip(ERRORS, DEVKIT_ERRORS, strict=True):
            value = getattr(ours.errors, name)
            if not np.isnan(value):
                assert value == pytest.approx(calc_tp(data[2.0], 0.1, theirs), abs=1e-9), (kind.name, name)
    undefined = {k.name: {e for e in ERRORS if np.isnan(getattr(scores.classes[k.name].errors, e))}
                 for k in NUSCENES.classes}  # fmt: skip
    assert undefined.pop("barrier") == {"velocity", "attribute"}
    assert undefined.pop("traffic_cone") == {"velocity", "attribute", "orientation"}
    assert not any(undefined.values())


def test_what_no_class_has_is_left_out_of_nds() -> None:
    plain = replace(NUSCENES.classes[0], name="drum", moves=False, moving="", still="", heading="none")
    drums = ClassList((HeadGroup(0.5, (plain,)),))
    boxes = Boxes(
        np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1), np.zeros((1, 2)), np.zeros(1, np.int64), np.ones(1), drums
    )
    found = replace(boxes, yaw=np.array([2.0]), velocity=np.ones((1, 2)), size=np.full((1, 3), [1.0, 1.0, 0.5]))
    scores = score_samples([ScoredSample(boxes, [""], found, ["vehicle.moving"])], drums)
    assert scores.mean_ap == pytest.approx(1.0) and scores.errors.scale == pytest.approx(0.5)
    assert np.isnan([scores.errors.orientation, scores.errors.velocity, scores.errors.attribute]).all()
    assert scores.nds == pytest.approx((5.0 + 1.0 + 0.5) / 7.0)  # mAP 1, translation 1, scale .5
