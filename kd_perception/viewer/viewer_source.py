"""Frames of whatever `kd view` was given, with ground truth and faults where there is a data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kd_perception.datasets.nuscenes import open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.rigs import check_anchor
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.results import Results, boxes_of_result, read_results
from kd_perception.evaluation.viewed import add_detections, check_tokens, view_sample
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.recordings.viewed_frame import ViewedFrame
from kd_perception.viewer.source import SourceKind, recognise, results_file, version_of

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables


@dataclass(frozen=True)
class FrameChoice:
    """Which frames are shown: of these scenes (none named: all), at most so many; and the robot's frame in a bag."""

    scenes: Sequence[str] = ()
    most: int = 100
    base_frame: str = "base_link"


@dataclass(frozen=True)
class ViewerSource:
    """A bag, results or a data set that was opened; `nusc` gives the ground truth, `results` the boxes of samples,
    whose classes and whose ground truth's are `classes`."""

    kind: SourceKind
    path: Path
    nusc: "Tables | None"
    results: Results | None
    classes: ClassList = NUSCENES

    def frames(self, choice: FrameChoice) -> Iterator[ViewedFrame]:
        """The chosen frames; `predictions` are of all scores, or None. Raises DataError for what cannot be read."""
        if self.kind is SourceKind.BAG:
            return self._frames_of_bag(choice)
        return islice(self._frames_of_samples(choice), choice.most)

    def judged(self, frame: ViewedFrame, threshold: float) -> ViewedFrame:
        """The frame with its predictions from the threshold on, and with faults where it has ground truth."""
        if frame.predictions is None:
            return frame
        if frame.ground_truth is not None:
            return add_detections(self.nusc, frame, frame.predictions, threshold)
        return replace(frame, predictions=frame.predictions[frame.predictions.score >= threshold])

    def _frames_of_bag(self, choice: FrameChoice) -> Iterator[ViewedFrame]:
        try:
            from kd_perception.viewer.bag_frames import bag_frames  # only here: it needs ROS messages
        except ImportError as error:
            raise ConfigError(f"bags need ROS 2's messages ({error}); source a ROS 2, or run make setup") from error
        known = set() if self.nusc is None else {row["token"] for row in self.nusc.sample}
        for frame in bag_frames(self.path, choice.base_frame, choice.most, self.classes):
            if self.nusc is None or not frame.sample_token:
                yield frame
                continue
            if frame.sample_token not in known:
                raise DataError(
                    f"bag {self.path} names sample {frame.sample_token}, which is not in {self.nusc.dataroot} "
                    f"({self.nusc.version}); give the data set that the bag was made of"
                )
            truth = view_sample(self.nusc, frame.sample_token, self.classes, sensors=False).ground_truth
            yield replace(frame, ground_truth=truth)

    def _frames_of_samples(self, choice: FrameChoice) -> Iterator[ViewedFrame]:
        scenes = choice.scenes or scene_names(self.nusc)
        for token in (token for scene in scenes for token in scene_samples(self.nusc, scene)):
            if self.results is None:
                yield view_sample(self.nusc, token, self.classes)
            elif token in self.results:
                frame = view_sample(self.nusc, token, self.classes)
                yield replace(frame, predictions=boxes_of_result(self.results[token], frame.map_from_ego, self.classes))


def open_source(
    path: Path,
    dataroot: Path | None = None,
    version: str = "",
    classes: ClassList = NUSCENES,
    *,
    anchor: str = "",
) -> ViewerSource:
    """Open what a path means; `dataroot` and `version` name the data set of results or of a bag's samples, `anchor` the
    camera that gives its frames their time.

    Raises DataError if it is none of the three or of another data set, ConfigError if results come without theirs, or
    no scene has the anchor.
    """
    kind = recognise(path)
    if kind is SourceKind.RESULTS and dataroot is None:
        raise ConfigError(f"{path} is a result, which holds no pictures; name the data set it is of with --dataroot")
    folder = path if kind is SourceKind.DATASET else dataroot
    nusc = None if folder is None else open_nuscenes(folder, version_of(folder, version), anchor)
    check_anchor(anchor, [] if nusc is None else [nusc])
    if kind is not SourceKind.RESULTS:
        return ViewerSource(kind, path, nusc, None, classes)
    file = results_file(path)
    results = read_results(file)
    check_tokens(nusc, results, file)
    return ViewerSource(kind, path, nusc, results, classes)
