"""Samples of a data set, with detections, as frames that viewers show."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kd_perception.datasets.nuscenes import ground_truth_boxes, load_frame
from kd_perception.errors import DataError
from kd_perception.evaluation.faults import Judged
from kd_perception.evaluation.metric import counted, in_range
from kd_perception.evaluation.pictures import DRAWN_SCORE, points_in_ego
from kd_perception.evaluation.results import Results, boxes_of_result
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.recordings.foxglove import foxglove_recording
from kd_perception.recordings.viewed_frame import ViewedFrame, ViewedImage

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

MOST_PICTURED = 40  # samples of an evaluation that are recorded with their sensors: a scene of nuScenes, about 50 MB


def view_sample(nusc: "Tables", token: str, classes: ClassList = NUSCENES, *, sensors: bool = True) -> ViewedFrame:
    """A sample and its ground truth that has points; with those pictures and the cloud that are there if `sensors`."""
    frame = load_frame(nusc, token)
    boxes, points = ground_truth_boxes(nusc, token, frame.global_from_ego, classes)
    images, problems = [], [f"camera {name} has no image of this moment in the tables" for name in frame.masked]
    for image in (image for image in frame.images if sensors and image.path is not None):
        try:
            images.append(ViewedImage(image.camera, image.read(), 1000 * image.timestamp_us))
        except DataError as error:
            problems.append(f"{error} ({image.path} is left out)")
    return ViewedFrame(
        title=f"{frame.scene}, sample {token}",
        stamp_ns=1000 * frame.timestamp_us,
        images=tuple(images),
        sample_token=token,
        map_from_ego=frame.global_from_ego,
        cloud=points_in_ego(nusc, token, frame.global_from_ego) if sensors else None,
        ground_truth=boxes[points != 0],
        problems=tuple(problems),
    )


def add_detections(
    nusc: "Tables", frame: ViewedFrame, detections: Boxes, threshold: float = DRAWN_SCORE
) -> ViewedFrame:
    """The frame of a sample with detections (in ego, of all scores) from the threshold on, and with its faults.

    Faults are counted within the metric's ranges.
    """
    keyframe = load_frame(nusc, frame.sample_token)
    boxes, points = ground_truth_boxes(nusc, frame.sample_token, keyframe.global_from_ego, detections.classes)
    counts = (points != 0) & in_range(boxes)
    cameras = [image.camera for image in keyframe.images if image.path is not None]
    judged = Judged(counted(detections), threshold, boxes[counts], points[counts], boxes[~counts], cameras)
    shown = detections[detections.score >= threshold]
    return replace(frame, predictions=shown, faults=tuple(judged.faults()))


def add_results(nusc: "Tables", frame: ViewedFrame, results: Results, threshold: float = DRAWN_SCORE) -> ViewedFrame:
    """The frame of a sample with its rows of a result file, as `add_detections`."""
    detections = boxes_of_result(results[frame.sample_token], frame.map_from_ego, frame.classes)
    return add_detections(nusc, frame, detections, threshold)


def check_tokens(nusc: "Tables", results: Results, where: Path) -> None:
    """Raise DataError if results are of samples that the tables do not have, or of none."""
    if not results:
        raise DataError(f"{where} has no samples; write it again with kd eval")
    known = {row["token"] for row in nusc.sample}
    if foreign := [token for token in results if token not in known]:
        raise DataError(
            f"{where} is the result of another data set: {len(foreign)} of its {len(results)} samples, the first "
            f"{foreign[0]}, are not in {nusc.dataroot} ({nusc.version}); give the data set that was evaluated"
        )


def write_foxglove(path: Path, nusc: "Tables", results: Results, classes: ClassList = NUSCENES) -> None:
    """The evaluated samples as an MCAP file for Foxglove: boxes of all, pictures and clouds of the first."""
    with foxglove_recording(path) as recording:
        for number, token in enumerate(results):
            frame = view_sample(nusc, token, classes, sensors=number < MOST_PICTURED)
            recording.write(add_results(nusc, frame, results))
