"""Sweeps of a LiDAR in, boxes out: cloud -> pillars -> engine -> decode, as a teacher was trained."""

import time
from collections.abc import Sequence

import numpy as np

from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import ENGINE_DEFAULTS, Engine, EngineOptions
from kd_perception.options.teacher import TeacherOptions
from kd_perception.runtime.frame import FrameRecord
from kd_perception.student.decode import decode
from kd_perception.student.spec import OUTPUTS
from kd_perception.teacher.clouds import Sweep, cut_to_grid, merge_sweeps
from kd_perception.teacher.pillars import pillar_points, pillar_tables
from kd_perception.teacher.spec import Teacher


class LidarPipeline:
    """A teacher's file, opened. Two threads may share it: one calls `prepare`, the other `infer`."""

    def __init__(
        self,
        teacher: Teacher,
        engine: str | Engine = TeacherOptions.engine,
        options: EngineOptions = ENGINE_DEFAULTS,
        *,
        score_threshold: float = TeacherOptions.score_threshold,
    ) -> None:
        """Open the engine by name, or take one that is open; raises EngineError if none can run the file."""
        self.teacher, self.score_threshold = teacher, score_threshold
        self.engine = open_engine(engine, teacher, options=options) if isinstance(engine, str) else engine

    def detect(self, sweeps: Sequence[Sweep], stamp_ns: int) -> FrameRecord:
        """The record of a moment, with its boxes: `prepare` and `infer` in one."""
        record: FrameRecord = FrameRecord(stamp_ns=stamp_ns)
        self.prepare(record, sweeps)
        self.infer(record)
        return record

    def prepare(self, record: FrameRecord, sweeps: Sequence[Sweep]) -> None:
        """The engine's inputs of a moment's sweeps, the same every time; without a point the record is blind."""
        start = time.perf_counter()
        spec = self.teacher.spec
        cloud = merge_sweeps(sweeps, spec.points, spec.raster, np.random.default_rng(record.stamp_ns))
        filled = pillar_tables(pillar_points(cut_to_grid(cloud, spec.grid), spec.raster), spec)
        record.inputs, record.model = filled.inputs, self.teacher.model_id
        if filled.left_out:
            record.note(
                "points_left_out",
                f"{filled.left_out} points are more than the teacher's file takes ({spec.points.most}, and "
                f"{spec.points.crowd} in a pillar); export it with a larger teacher.points.most",
            )
        record.blind = not (filled.inputs["first_point"] < spec.points.most).any()
        if record.blind:
            low, high = spec.points.z_range
            record.reason = (
                f"no point lies within {spec.grid.x_max:g} m of the robot and {low:g} to {high:g} m of height; check "
                "the LiDAR and its tf"
            )
        record.stage_ms["preprocess"] = 1e3 * (time.perf_counter() - start)

    def infer(self, record: FrameRecord) -> None:
        """Run the engine on a prepared record, unless it is blind, and decode its outputs."""
        start = inferred = time.perf_counter()
        if not record.blind:
            spec = self.teacher.spec
            outputs = self.engine.run(record.inputs)
            inferred = time.perf_counter()
            heatmap, regression = (outputs[name] for name in OUTPUTS)
            record.boxes = decode(
                heatmap, regression, spec.grid, self.score_threshold, classes=spec.classes, coding=spec.coding
            )
        record.engine = self.engine.name
        times = record.stage_ms
        times["inference"] = 1e3 * (inferred - start)
        times["decode"] = 1e3 * (time.perf_counter() - inferred)
        times["total"] = times["preprocess"] + times["inference"] + times["decode"]
