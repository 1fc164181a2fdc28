"""A student over viewed frames: its heatmaps and, where a frame has none, its boxes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import Engine, Tensor, keep
from kd_perception.options.detector import DetectorOptions
from kd_perception.recordings.viewed_frame import ViewedFrame
from kd_perception.runtime.pipeline import HEATMAP_OUTPUT, Pipeline, PipelineOptions
from kd_perception.student.spec import load_student

LOWEST_SCORE = 0.05  # boxes below the threshold that is shown tell why one was missed


class TappedEngine:
    """An engine that keeps the heatmap of its last run, (classes, rows, columns)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.heatmap: np.ndarray | None = None

    @property
    def name(self) -> str:
        """As the engine's."""
        return self._engine.name

    @property
    def not_kept(self) -> str:
        """As the engine's."""
        return self._engine.not_kept

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As the engine's."""
        outputs = self._engine.run(inputs)
        self.heatmap = keep(outputs[HEATMAP_OUTPUT])
        return outputs


class StudentHeatmaps:
    """A student file that is opened for the frames' number of cameras, again where that changes."""

    def __init__(self, path: Path, engine: str = DetectorOptions.engine) -> None:
        """Raises StudentError if the file is none."""
        self._student, self._engine = load_student(path), engine
        self._tap: TappedEngine | None = None
        self._pipeline: Pipeline | None = None
        self._cameras = 0

    def add(self, frame: ViewedFrame) -> ViewedFrame:
        """The frame with the heatmap `student`, and with the student's boxes if it has no predictions.

        Pictures that cannot be decoded count as missing; they are named in `problems`.
        """
        if not frame.images:
            return frame
        pipeline = self._opened(len(frame.images))
        pipeline.set_rig([image.camera for image in frame.images])
        record = pipeline.detect([image.data for image in frame.images], frame.stamp_ns, frame.map_from_ego)
        problems = (*frame.problems, *record.rejected.values())
        if record.blind:
            return replace(frame, problems=problems)
        heatmaps = {**frame.heatmaps, "student": self._tap.heatmap}
        predictions = record.boxes if frame.predictions is None else frame.predictions
        return replace(frame, heatmaps=heatmaps, predictions=predictions, problems=problems)

    def close(self) -> None:
        """End the decoder threads."""
        if self._pipeline is not None:
            self._pipeline.close()

    def _opened(self, cameras: int) -> Pipeline:
        if self._pipeline is None or cameras != self._cameras:
            self.close()
            options = PipelineOptions(score_threshold=LOWEST_SCORE)
            self._tap = TappedEngine(open_engine(self._engine, self._student, cameras, options))
            self._pipeline, self._cameras = Pipeline(self._student, self._tap, cameras, options), cameras
        return self._pipeline
