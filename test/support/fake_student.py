"""A student file that reads painted images: real interface and tables, no training, known detections in a millisecond.

`paint` writes an object into the images where a rig's cameras see it: red is the score, green the class, blue the depth
bin. The file gathers those pixels with the tables of `pull`, so what it finds proves preprocessing, geometry, engine
and decoding.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import AXIS
from kd_perception.student.spec import (
    MEMORY_INPUTS,
    MEMORY_OUTPUT,
    METADATA_KEY,
    DepthBins,
    MemorySpec,
    StudentSpec,
    ViewSpec,
)

SIZE = (4.0, 2.0, 1.5)  # length, width, height of every box it finds
HEIGHT = 0.75  # z of their centres in base_link
YAW = 0.3
LEVELS_PER_CLASS, LEVELS_PER_BIN = 25, 6  # steps of the green and the blue channel
REMEMBERED = 0.5  # share of the score of what only the memory knows
DARK = 0.4  # red below this share of 255 is background
SPEC = StudentSpec(
    name="painted",
    grid=BevGrid(-32.0, 32.0, -32.0, 32.0, 1.0),
    image_size=(64, 176),
    view=ViewSpec(
        "pull", stride=4, depth=DepthBins(start=1.0, step=1.0, count=40), heights=(HEIGHT,), z_range=(-5.0, 3.0)
    ),
    trained_cameras=6,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    provenance={"data": "none: reads painted images"},
)
TEMPORAL_SPEC = replace(
    SPEC,
    name="remembers",
    temporal_frames=2,
    memory=MemorySpec(len(CLASSES), interval_s=0.5, shortest_s=0.1, longest_s=1.0),
)


def paint(
    images: Sequence[np.ndarray], cameras: Sequence[Camera], xy: Sequence[float], class_name: str, score: float = 0.9
) -> int:
    """Paint an object at x, y (metres, base_link) into raw RGB images of the rig, in place; how many cameras see it.

    Vehicles and barriers come back as one box within 1.5 m; at its rim, where colours average, other boxes below 0.25
    may appear. Images of twice the network's size or more survive JPEG at quality 95.
    """
    point = np.array([[*xy, HEIGHT]])
    seen_by = 0
    for image, camera in zip(images, cameras, strict=True):
        (pixel,), (distance,), (seen,) = camera.project(point)
        if not seen:
            continue
        seen_by += 1
        column, row = pixel.astype(int)
        depth_bin = int((distance - SPEC.view.depth.start) // SPEC.view.depth.step)
        green, blue = (CLASSES.index(class_name) + 0.5) * LEVELS_PER_CLASS, (depth_bin + 0.5) * LEVELS_PER_BIN
        cell = SPEC.view.stride * image.shape[1] // SPEC.image_size[1]  # pixels of a feature cell
        for rings, share in ((3, 0.4), (2, 0.7), (1, 1.0)):  # a peak, not a plateau
            top, left = max(0, row - rings * cell), max(0, column - rings * cell)
            red = 255.0 * (DARK + (1.0 - DARK) * score * share)
            image[top : row + rings * cell, left : column + rings * cell] = (round(red), green, blue)
    return seen_by


def write_fake_student(path: Path, spec: StudentSpec = SPEC) -> Path:
    """Write the file; `spec` may differ from SPEC in anything but the view transform's kind and number of heights."""
    rows, columns = spec.grid.shape
    constants = {
        "zero": np.float32(0.0),
        "one": np.float32(1.0),
        "dark": np.float32(255.0 * DARK),
        "range": np.float32(255.0 * (1.0 - DARK)),
        "level_class": np.float32(LEVELS_PER_CLASS),
        "level_bin": np.float32(LEVELS_PER_BIN),
        "flat": np.array([-1], np.int64),
        "classes": np.arange(len(CLASSES), dtype=np.float32)[:, None, None],
        "bins": np.arange(spec.view.depth.count, dtype=np.float32)[None, :, None, None],
        "valid_shape": np.array([-1, 1, 1, 1], np.int64),
        "source_axis": np.array([1], np.int64),
        "heatmap_shape": np.array([len(CLASSES), rows, columns], np.int64),
        "codes": _regression_codes(rows, columns),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["images"], ["float_images"], to=TensorProto.FLOAT),
        node("Transpose", ["float_images"], ["planes"], perm=[0, 3, 1, 2]),
        node(
            "AveragePool", ["planes"], ["pooled"], kernel_shape=[spec.view.stride] * 2, strides=[spec.view.stride] * 2
        ),
        node("Split", ["pooled"], ["red", "green", "blue"], axis=1, num_outputs=3),
        # score and class of every feature pixel, flattened as pixel_index counts
        node("Sub", ["red", "dark"], ["above_dark"]),
        node("Div", ["above_dark", "range"], ["signed_scores"]),
        node("Max", ["signed_scores", "zero"], ["scores"]),
        node("Reshape", ["camera_valid", "valid_shape"], ["valid"]),
        node("Mul", ["scores", "valid"], ["valid_scores"]),
        node("Reshape", ["valid_scores", "flat"], ["flat_scores"]),
        node("Div", ["green", "level_class"], ["class_levels"]),
        node("Floor", ["class_levels"], ["class_codes"]),
        node("Reshape", ["class_codes", "flat"], ["flat_classes"]),
        # one-hot depth probability (cameras, bins, rows, columns), flattened as depth_index counts
        node("Div", ["blue", "level_bin"], ["bin_levels"]),
        node("Floor", ["bin_levels"], ["bin_codes"]),
        node("Equal", ["bin_codes", "bins"], ["in_bin"]),
        node("Cast", ["in_bin"], ["probability"], to=TensorProto.FLOAT),
        node("Reshape", ["probability", "flat"], ["flat_probability"]),
        # the view transform: (2, cells), then the sum over the two sources
        node("Gather", ["flat_probability", "depth_index"], ["cell_depth"], axis=0),
        node("Gather", ["flat_scores", "pixel_index"], ["cell_scores"], axis=0),
        node("Gather", ["flat_classes", "pixel_index"], ["cell_classes"], axis=0),
        node("Mul", ["cell_depth", "weight"], ["cell_weight"]),
        node("Mul", ["cell_scores", "cell_weight"], ["cell_terms"]),
        node("Equal", ["cell_classes", "classes"], ["is_class"]),
        node("Cast", ["is_class"], ["class_mask"], to=TensorProto.FLOAT),
        node("Mul", ["cell_terms", "class_mask"], ["class_terms"]),
        node("ReduceSum", ["class_terms", "source_axis"], ["class_sums"], keepdims=0),
        node("Reshape", ["class_sums", "heatmap_shape"], ["raw_heatmap"]),
        node("Clip", ["remembered_heatmap" if spec.memory else "raw_heatmap", "zero", "one"], ["heatmap"]),
        node("Identity", ["codes"], ["regression"]),
    ]
    value = helper.make_tensor_value_info
    memory_inputs, memory_outputs = [], []
    if spec.memory:
        nodes[-2:-2] = _memory_nodes()
        constants |= {
            "remembered": np.float32(REMEMBERED),
            "nothing": np.float32(0.0),
            "batch": np.array([0], np.int64),
        }
        memory = [len(CLASSES), rows, columns]
        memory_inputs = [
            value(name, TensorProto.FLOAT, shape)
            for name, shape in zip(MEMORY_INPUTS, (memory, [rows, columns, 2], [1], [1]), strict=True)
        ]
        memory_outputs = [value(MEMORY_OUTPUT, TensorProto.FLOAT, memory)]
    table = [2, len(spec.view.heights) * rows * columns]
    graph = helper.make_graph(
        nodes,
        "painted",
        [
            value("images", TensorProto.UINT8, ["cameras", *spec.image_size, 3]),
            value("camera_valid", TensorProto.FLOAT, ["cameras"]),
            value("pixel_index", TensorProto.INT32, table),
            value("depth_index", TensorProto.INT32, table),
            value("weight", TensorProto.FLOAT, table),
            *memory_inputs,
        ],
        [
            value("heatmap", TensorProto.FLOAT, [len(CLASSES), rows, columns]),
            value("regression", TensorProto.FLOAT, [len(NUSCENES.groups), len(AXIS.names), rows, columns]),
            *memory_outputs,
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def _memory_nodes() -> list[onnx.NodeProto]:
    """What was seen before is seen again with a part of its score, where the warp puts it."""
    node = helper.make_node
    memory, warp, valid, interval = MEMORY_INPUTS
    return [
        node("Identity", ["raw_heatmap"], [MEMORY_OUTPUT]),
        node("Unsqueeze", [memory, "batch"], ["memory_batch"]),
        node("Unsqueeze", [warp, "batch"], ["warp_batch"]),
        node("GridSample", ["memory_batch", "warp_batch"], ["warped_batch"], mode="bilinear", align_corners=0),
        node("Squeeze", ["warped_batch", "batch"], ["warped"]),
        node("Mul", [valid, "remembered"], ["share"]),
        node("Mul", [interval, "zero"], ["no_matter_how_old"]),
        node("Add", ["share", "no_matter_how_old"], ["weight_of_memory"]),
        node("Mul", ["warped", "weight_of_memory"], ["memories"]),
        node("Max", ["raw_heatmap", "memories"], ["remembered_heatmap"]),
    ]


def _regression_codes(rows: int, columns: int) -> np.ndarray:
    """The same box in every cell: centred, SIZE, HEIGHT, YAW, standing still; classes of a group share it."""
    heading = (np.sin(2.0 * YAW), np.cos(2.0 * YAW), np.cos(YAW), np.sin(YAW))
    code = np.array([0.0, 0.0, HEIGHT, *np.log(SIZE), *heading, 0.0, 0.0], np.float32)
    return np.broadcast_to(code[None, :, None, None], (len(NUSCENES.groups), len(code), rows, columns)).copy()
