"""Ground truth as a submission: the best score that a data set's tables allow; checks tables, geometry and metric."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kd_perception.datasets.nuscenes import annotations, load_frame, scene_samples
from kd_perception.evaluation.results import Results, sample_result
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.transforms import invert

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables


def ground_truth_results(nusc: "Tables", scenes: Sequence[str], classes: ClassList = NUSCENES) -> Results:
    """The annotations of `scenes`, through ego coordinates and back, as a result file's entries.

    Boxes without a LiDAR or RADAR point are left out: the metric drops them from the ground truth, so they would be
    false positives.
    """
    results: Results = {}
    for token in (token for scene in scenes for token in scene_samples(nusc, scene)):
        frame = load_frame(nusc, token)
        found = annotations(nusc, token, classes)
        seen = found.points != 0
        in_ego = found.boxes[seen].transformed(invert(frame.global_from_ego))
        attributes = [name for name, keep in zip(found.attributes, seen, strict=True) if keep]
        results[token] = sample_result(token, in_ego, frame.global_from_ego, attributes)
    return results
