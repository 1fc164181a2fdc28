"""A whole frame, JPEG bytes in to boxes out, next to the image backbone alone on the same images, in turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_bench.cut_student import backbone_alone
from kd_bench.dataset_frames import BenchFrame
from kd_bench.latency.energy import EnergyMeter
from kd_bench.latency.peers import timed
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.spec import Student

WARM_UP = 3
PERIOD_NS = 100_000_000  # between frames: cameras at 10 Hz


@dataclass(frozen=True)
class LatencySetup:
    """What a measurement runs on: frames of 1600x900 JPEGs, the engine, threads and rounds."""

    frames: Sequence[BenchFrame]
    engine: str
    threads: int
    rounds: int


@dataclass(frozen=True)
class FrameTimes:
    """The best of all frames. stage_ms: medians by stage; frame_ms: bytes to boxes; backbone_ms: of the same images;
    cpu_s: processor seconds, the median; joules: 0 where the machine does not count them (source '')."""

    stage_ms: dict[str, float]
    frame_ms: float
    backbone_ms: float
    cpu_s: float
    joules: float
    source: str

    @property
    def times_backbone(self) -> float:
        """How many times the backbone alone a frame takes."""
        return self.frame_ms / self.backbone_ms


def measure_frames(student: Student, measured: LatencySetup, scratch: Path) -> FrameTimes:
    """Time frames of a rig that stands still, with memory if the student has one; `scratch`: an empty folder."""
    frames, engine, threads = measured.frames, measured.engine, measured.threads
    cameras = len(frames[0].cameras)
    pipeline = Pipeline(student, engine, cameras, PipelineOptions(threads=threads))
    backbone = open_engine(engine, backbone_alone(student, cameras, scratch), cameras, EngineOptions(threads=threads))
    pipeline.set_rig(frames[0].cameras)
    whole, alone, stages, joules = [], [], [], []
    try:
        for index in range(WARM_UP + measured.rounds):
            record = FrameRecord(
                stamp_ns=(index + 1) * PERIOD_NS, images=frames[index % len(frames)].images, odom_from_base=np.eye(4)
            )
            meter = EnergyMeter()
            whole.append(timed(lambda record=record: (pipeline.prepare(record), pipeline.infer(record))))
            joules.append(meter.joules())
            stages.append(record.stage_ms)
            alone.append(timed(lambda record=record: backbone.run(record.inputs)))
    finally:
        pipeline.close()
    frame_ms, backbone_ms = (min(ms for ms, _ in times[WARM_UP:]) for times in (whole, alone))
    cpu_s = np.median([spent for _, spent in whole[WARM_UP:]])
    medians = {name: float(np.median([entry[name] for entry in stages[WARM_UP:]])) for name in stages[-1]}
    spent = float(np.median(joules[WARM_UP:]))
    return FrameTimes(medians, frame_ms, backbone_ms, float(cpu_s), spent, meter.source)
