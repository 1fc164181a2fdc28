"""Ground truth as a submission: the best score that a data set's tables allow; checks tables, geometry and metric."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kd_perception.datasets.nuscenes import ground_truth_boxes, load_frame, scene_samples
from kd_perception.evaluation.results import Results, sample_result

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables


def ground_truth_results(nusc: "Tables", scenes: Sequence[str]) -> Results:
    """The annotations of `scenes`, through ego coordinates and back, as a result file's entries.

    Boxes without a LiDAR or RADAR point are left out: the metric drops them from the ground truth, so they would be
    false positives.
    """
    results: Results = {}
    for token in (token for scene in scenes for token in scene_samples(nusc, scene)):
        frame = load_frame(nusc, token)
        boxes, points = ground_truth_boxes(nusc, token, frame.global_from_ego)
        seen = points != 0
        attributes = [name for name, keep in zip(_attributes(nusc, token), seen, strict=True) if keep]
        results[token] = sample_result(token, boxes[seen], frame.global_from_ego, attributes)
    return results


def _attributes(nusc: "Tables", sample_token: str) -> list[str]:
    """Attribute names ('' for none) in the order of `kd_perception.datasets.nuscenes.ground_truth_boxes`."""
    from nuscenes.eval.detection.utils import category_to_detection_name

    rows = [nusc.get("sample_annotation", token) for token in nusc.get("sample", sample_token)["anns"]]
    kept = [row for row in rows if category_to_detection_name(row["category_name"]) is not None]
    return [
        nusc.get("attribute", row["attribute_tokens"][0])["name"] if row["attribute_tokens"] else "" for row in kept
    ]
