"""A TensorRT engine of a small student, opened over the stand-ins, and inputs for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from kd_perception.engines.protocol import EngineOptions
from kd_perception.engines.tensorrt import TensorRtEngine
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.preprocess import fit_image
from kd_perception.student.spec import Student
from kd_perception.student.view_tables import build_tables
from support.fake_student import SPEC

SMALL = replace(SPEC, grid=BevGrid(-16.0, 16.0, -16.0, 16.0, 1.0))


def inputs_for(cameras: int, seed: int = 0) -> dict[str, np.ndarray]:
    height, width = SMALL.image_size
    rig = ring_rig(cameras, width, height, np.radians(95.0))
    images = np.random.default_rng(seed).integers(0, 256, (cameras, height, width, 3), dtype=np.uint8)
    tables = build_tables(SMALL, rig, [fit_image((height, width), SMALL.image_size)] * cameras)
    return {"images": images, "camera_valid": np.ones(cameras, np.float32), **tables}


def opened(student: Student, folder: Path, cameras: int = 4, reports: list[str] | None = None) -> TensorRtEngine:
    report = (lambda sentence: None) if reports is None else reports.append
    return TensorRtEngine(student, cameras, EngineOptions(cache_folder=folder, report=report))
