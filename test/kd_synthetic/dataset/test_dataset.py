"""The written set: nuScenes tables the devkit loads, ground truth that scores perfectly, pictures that fit."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.geometry.classes import CLASSES
from kd_synthetic.dataset.generate import SynthConfig
from kd_synthetic.dataset.tables import SPLIT
from kd_synthetic.rendering.sensors import CHANNELS


@pytest.fixture(scope="module")
def nusc(dataset: SynthConfig):
    from nuscenes import NuScenes

    return NuScenes(SYNTHETIC_VERSION, str(dataset.out), verbose=False)


def test_the_devkit_follows_every_chain(nusc, dataset: SynthConfig) -> None:
    assert len(nusc.scene) == dataset.scenes and len(nusc.sample) == dataset.scenes * dataset.frames
    for scene in nusc.scene:
        tokens, token = [], scene["first_sample_token"]
        while token:
            tokens.append(token)
            token = nusc.get("sample", token)["next"]
        assert len(tokens) == scene["nbr_samples"] == dataset.frames and tokens[-1] == scene["last_sample_token"]
        for channel in CHANNELS:
            row = nusc.get("sample_data", nusc.get("sample", tokens[0])["data"][channel])
            stamps, keyframes = [], 0
            while True:
                assert (dataset.out / row["filename"]).is_file()
                assert row["filename"].startswith("samples/" if row["is_key_frame"] else "sweeps/")
                assert nusc.get("ego_pose", row["ego_pose_token"])["timestamp"] == row["timestamp"]
                stamps.append(row["timestamp"])
                keyframes += row["is_key_frame"]
                if not row["next"]:
                    break
                assert nusc.get("sample_data", row["next"])["prev"] == row["token"]
                row = nusc.get("sample_data", row["next"])
            assert keyframes == dataset.frames and stamps == sorted(set(stamps))
            assert len(stamps) == dataset.frames + (
                dataset.sweeps * (dataset.frames - 1) if channel == "LIDAR_TOP" else 0
            )
    for instance in nusc.instance:
        count, token = 0, instance["first_annotation_token"]
        while token:
            count, row = count + 1, nusc.get("sample_annotation", token)
            token = row["next"]
        assert count == instance["nbr_annotations"] and row["token"] == instance["last_annotation_token"]


def test_ground_truth_as_submission_scores_one_in_every_class(nusc, tmp_path: Path) -> None:
    from nuscenes.eval.detection.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval
    from nuscenes.eval.detection.utils import category_to_detection_name

    attribute = {row["token"]: row["name"] for row in nusc.attribute}
    results: dict[str, list[dict]] = {row["token"]: [] for row in nusc.sample}
    for row in nusc.sample_annotation:
        if row["num_lidar_pts"]:
            velocity = np.nan_to_num(nusc.box_velocity(row["token"])[:2])
            results[row["sample_token"]].append(
                {
                    "sample_token": row["sample_token"],
                    "translation": row["translation"],
                    "size": row["size"],
                    "rotation": row["rotation"],
                    "velocity": velocity.tolist(),
                    "detection_name": category_to_detection_name(row["category_name"]),
                    "detection_score": 0.9,
                    "attribute_name": attribute[row["attribute_tokens"][0]] if row["attribute_tokens"] else "",
                }
            )
    meta = dict.fromkeys(("use_camera", "use_lidar", "use_radar", "use_map", "use_external"), False)
    (tmp_path / "results.json").write_text(json.dumps({"meta": meta, "results": results}))
    evaluation = DetectionEval(
        nusc,
        config_factory("detection_cvpr_2019"),
        str(tmp_path / "results.json"),
        SPLIT,
        str(tmp_path / "out"),
        verbose=False,
    )
    metrics, _ = evaluation.evaluate()
    assert {name: pytest.approx(1.0) for name in CLASSES} == metrics.serialize()["mean_dist_aps"]


def test_points_in_boxes_are_those_the_devkit_counts(nusc, dataset: SynthConfig) -> None:
    from nuscenes.utils.data_classes import LidarPointCloud
    from nuscenes.utils.geometry_utils import points_in_box

    sample = nusc.sample[0]
    path, boxes, _ = nusc.get_sample_data(sample["data"]["LIDAR_TOP"])
    cloud = LidarPointCloud.from_file(path).points
    raw = np.fromfile(path, np.float32).reshape(-1, 5)
    assert set(np.unique(raw[:, 4])) <= set(range(32)) and 0 <= raw[:, 3].min() and raw[:, 3].max() <= 255
    assert 15_000 < len(raw) < 35_000
    for box in boxes:
        expected = nusc.get("sample_annotation", box.token)["num_lidar_pts"]
        counted = int(points_in_box(box, cloud[:3]).sum())
        assert abs(counted - expected) <= max(1, 0.02 * expected)  # points on the very surface may fall on either side


def test_pictures_show_what_the_boxes_say(nusc, dataset: SynthConfig) -> None:
    """A well visible car is brighter or darker than what surrounds it: its picture changes at the box's border."""
    contrast = []
    for sample in nusc.sample:
        for channel in CHANNELS[:6]:
            path, boxes, intrinsics = nusc.get_sample_data(sample["data"][channel])
            image = cv2.imread(path).astype(np.float64)
            assert image.shape == (dataset.height, dataset.width, 3)
            assert image.std() > 8  # not a flat picture
            for box in boxes:
                row = nusc.get("sample_annotation", box.token)
                corners = box.corners()
                if row["visibility_token"] != "4" or corners[2].min() < 3 or "vehicle" not in row["category_name"]:
                    continue
                pixel = intrinsics @ corners
                hull = cv2.convexHull((pixel[:2] / pixel[2]).T.astype(np.float32)).round().astype(np.int32)
                x, y, width, height = cv2.boundingRect(hull)
                if (
                    width < 10
                    or height < 6
                    or x < 6
                    or y < 6
                    or x + width > dataset.width - 6
                    or y + height > dataset.height - 6
                ):
                    continue
                inside, around = np.zeros(image.shape[:2], np.uint8), np.zeros(image.shape[:2], np.uint8)
                cv2.fillConvexPoly(inside, hull, 1)
                cv2.fillConvexPoly(around, hull, 1)
                around = cv2.dilate(around, np.ones((7, 7))) - inside
                contrast.append(np.abs(image[inside > 0].mean(0) - image[around > 0].mean(0)).max())
    assert len(contrast) >= 5 and np.median(contrast) > 5


def test_attributes_fit_the_velocities(nusc) -> None:
    for row in nusc.sample_annotation:
        assert row["visibility_token"] in ("1", "2", "3", "4")
        velocity = nusc.box_velocity(row["token"])[:2]
        names = [nusc.get("attribute", token)["name"] for token in row["attribute_tokens"]]
        needs = not row["category_name"].startswith("movable_object")
        assert len(names) == needs
        if names and np.isfinite(velocity).all() and np.linalg.norm(velocity) > 1.0 and "cycle" not in names[0]:
            assert names[0].endswith("moving")


def test_card_and_map_are_there(dataset: SynthConfig) -> None:
    card = json.loads((dataset.out / "card.json").read_text())
    assert card["frames"] == dataset.scenes * dataset.frames and set(card["classes"]) <= set(CLASSES)
    assert "mini_val" in (dataset.out / "card.md").read_text()
    assert cv2.imread(str(dataset.out / "maps" / "synthetic.png")) is not None
