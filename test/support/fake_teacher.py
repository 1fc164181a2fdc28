"""A teacher file that reads bright points: real interface and pillars, no training, known detections in a millisecond.

A cell's brightest point is its score as a car, from 0 at an intensity of DARK of the full one; ages and heights do not
matter. What it finds so proves clouds, sweeps, pillars, engine and decoding.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import AXIS
from kd_perception.teacher.pillars import FEATURES
from kd_perception.teacher.spec import INPUTS, METADATA_KEY, PointsSpec, TeacherSpec
from support.fake_student import HEIGHT, SIZE, YAW

DARK = 0.5
POINTS = PointsSpec(sweeps=4, z_range=(-3.0, 5.0), per_pillar=0, most=2000, crowd=64)
TEACHER_SPEC = TeacherSpec("bright", BevGrid.square(32.0, 1.0), 1.0, POINTS)


def write_fake_teacher(path: Path, spec: TeacherSpec = TEACHER_SPEC) -> Path:
    """Write the file; pillars of `spec` are as large as its cells."""
    rows, columns = spec.grid.shape
    points, followers, first_point = INPUTS
    heading = (np.sin(2.0 * YAW), np.cos(2.0 * YAW), np.cos(YAW), np.sin(YAW))
    code = np.array([0.0, 0.0, HEIGHT, *np.log(SIZE), *heading, 0.0, 0.0], np.float32)
    constants = {
        "intensity": np.array([3], np.int32),
        "place": np.arange(spec.points.most, dtype=np.int32),
        "nothing": np.zeros((1, 1), np.float32),
        "dark": np.float32(DARK),
        "range": np.float32(1.0 - DARK),
        "zero": np.float32(0.0),
        "one": np.float32(1.0),
        "cells": np.array([1, rows, columns], np.int64),
        "car": np.array([name == "car" for name in CLASSES], np.float32)[:, None, None],
        "codes": np.broadcast_to(
            code[None, :, None, None], (len(NUSCENES.groups), len(code), rows, columns)
        ).copy(),
    }  # fmt: skip
    node = helper.make_node
    nodes = [node("Gather", [points, "intensity"], ["most0"], axis=1)]
    for step in range(spec.points.crowd.bit_length() - 1):
        constants[f"reach{step}"] = np.int32(2**step)
        nodes += [
            node("Min", [followers, f"reach{step}"], [f"ahead{step}"]),
            node("Add", ["place", f"ahead{step}"], [f"other{step}"]),
            node("Gather", [f"most{step}", f"other{step}"], [f"more{step}"], axis=0),
            node("Max", [f"most{step}", f"more{step}"], [f"most{step + 1}"]),
        ]
    nodes += [
        node("Concat", [nodes[-1].output[0], "nothing"], ["lifted"], axis=0),
        node("Gather", ["lifted", first_point], ["flat"], axis=0),
        node("Reshape", ["flat", "cells"], ["raster"]),
        node("Sub", ["raster", "dark"], ["above"]),
        node("Div", ["above", "range"], ["signed"]),
        node("Clip", ["signed", "zero", "one"], ["scores"]),
        node("Mul", ["scores", "car"], ["heatmap"]),
        node("Identity", ["codes"], ["regression"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "bright",
        [
            value(points, TensorProto.FLOAT, [spec.points.most, FEATURES]),
            value(followers, TensorProto.INT32, [spec.points.most]),
            value(first_point, TensorProto.INT32, [int(np.prod(spec.raster.shape))]),
        ],
        [
            value("heatmap", TensorProto.FLOAT, [len(CLASSES), rows, columns]),
            value("regression", TensorProto.FLOAT, [len(NUSCENES.groups), len(AXIS.names), rows, columns]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def bright_cluster(xy: tuple[float, float], brightness: float = 0.9) -> np.ndarray:
    """Points (P, 4) in base_link of a car at the middle of a cell: bright in that cell, and darker around it."""
    offsets = np.stack(np.meshgrid(np.linspace(-1.4, 1.4, 8), np.linspace(-0.9, 0.9, 6)), -1).reshape(-1, 2)
    inside = np.abs(offsets).max(axis=1) < 0.45
    points = np.zeros((len(offsets), 4), np.float32)
    points[:, :2] = offsets + xy
    points[:, 2] = HEIGHT
    points[:, 3] = np.where(inside, brightness, 0.6 * brightness)
    return points
