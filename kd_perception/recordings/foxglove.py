"""Frames as an MCAP file that Foxglove opens by itself: boxes as SceneUpdate, pictures, calibrations, clouds, tf.

Messages are protobuf of Foxglove's published schemas, which the file carries: a reader needs no ROS and no message
packages. Conversions at this edge: quaternions (w, x, y, z) -> (x, y, z, w); K with pixel centres at .5 -> integers;
the lens 'equidistant' -> 'kannala_brandt', its name there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.Color_pb2 import Color as FoxgloveColor
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.CubePrimitive_pb2 import CubePrimitive
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.KeyValuePair_pb2 import KeyValuePair
from foxglove_schemas_protobuf.LinePrimitive_pb2 import LinePrimitive
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.Point3_pb2 import Point3
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.Pose_pb2 import Pose
from foxglove_schemas_protobuf.Quaternion_pb2 import Quaternion
from foxglove_schemas_protobuf.SceneEntity_pb2 import SceneEntity
from foxglove_schemas_protobuf.SceneEntityDeletion_pb2 import SceneEntityDeletion
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from foxglove_schemas_protobuf.TextPrimitive_pb2 import TextPrimitive
from foxglove_schemas_protobuf.Vector3_pb2 import Vector3
from google.protobuf.timestamp_pb2 import Timestamp
from mcap_protobuf.writer import Writer as ProtobufWriter

from kd_perception.atomic import atomic_path
from kd_perception.drawing.cameras import EDGES
from kd_perception.drawing.style import GROUND_TRUTH_COLOR, Color
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import quaternion_from_yaw, quaternion_of
from kd_perception.recordings.viewed_frame import Fault, FaultKind, ViewedFrame, ViewedImage

MAP_FRAME, EGO_FRAME = "map", "base_link"
TF_TOPIC, CLOUD_TOPIC = "/tf", "/lidar/points"
PREDICTIONS_TOPIC, TRUTH_TOPIC, FAULTS_TOPIC = "/predictions", "/ground_truth", "/faults"
FAULT_COLORS: dict[FaultKind, Color] = {FaultKind.MISSED: (255, 60, 60), FaultKind.FALSE: (255, 80, 255)}
OUTLINE_PIXELS, TEXT_HEIGHT = 1.5, 0.6  # of lines on the screen; of letters, in metres
_UNTURNED = np.array([1.0, 0.0, 0.0, 0.0])


@contextmanager
def foxglove_recording(path: Path) -> Iterator["FoxgloveRecording"]:
    """The MCAP file at `path`, which is there when the block ends well, and not at all when it raises."""
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        writer = ProtobufWriter(stream)
        yield FoxgloveRecording(writer)
        writer.finish()


class FoxgloveRecording:
    """Frames as messages; every scene update replaces the one before on its topic."""

    def __init__(self, writer: ProtobufWriter) -> None:
        self._writer = writer

    def write(self, frame: ViewedFrame) -> None:
        """Append a frame: everything has the frame's stamp, at which the boxes hold."""
        at = Timestamp()
        at.FromNanoseconds(frame.stamp_ns)
        self._add(TF_TOPIC, FrameTransforms(transforms=_transforms(frame, at)), frame)
        for image in frame.images:
            self._add(f"/{image.camera.name}/calibration", _calibration(image.camera, at), frame)
            self._add(f"/{image.camera.name}/image", _picture(image, at), frame)
        if frame.cloud is not None:
            self._add(CLOUD_TOPIC, _cloud(frame.cloud, at), frame)
        if frame.ground_truth is not None:
            truth = [_outlined(frame.ground_truth, i, GROUND_TRUTH_COLOR) for i in range(len(frame.ground_truth))]
            self._add(TRUTH_TOPIC, _scene(truth, at), frame)
        if frame.predictions is not None:
            cubes = [_cube(frame.predictions, i) for i in range(len(frame.predictions))]
            self._add(PREDICTIONS_TOPIC, _scene(cubes, at), frame)
        if frame.ground_truth is not None and frame.predictions is not None:
            self._add(FAULTS_TOPIC, _scene([_fault(fault) for fault in frame.faults], at), frame)

    def _add(self, topic: str, message: Any, frame: ViewedFrame) -> None:  # noqa: ANN401 - protobuf has no base to name
        self._writer.write_message(topic, message, log_time=frame.stamp_ns, publish_time=frame.stamp_ns)


def _transforms(frame: ViewedFrame, at: Timestamp) -> list[FrameTransform]:
    known = [(EGO_FRAME, image.camera.name, image.camera.ego_from_camera) for image in frame.images]
    if frame.map_from_ego is not None:
        known.append((MAP_FRAME, EGO_FRAME, frame.map_from_ego))
    return [
        FrameTransform(
            timestamp=at,
            parent_frame_id=parent,
            child_frame_id=child,
            translation=_vector(parent_from_child[:3, 3]),
            rotation=_quaternion(quaternion_of(parent_from_child)),
        )
        for parent, child, parent_from_child in known
    ]


def _calibration(camera: Camera, at: Timestamp) -> CameraCalibration:
    model, coefficients = camera.info_distortion()
    k = camera.integer_centred_intrinsics()
    return CameraCalibration(
        timestamp=at,
        frame_id=camera.name,
        width=camera.width,
        height=camera.height,
        distortion_model="kannala_brandt" if model == "equidistant" else model,
        D=coefficients,
        K=k.ravel().tolist(),
        R=np.eye(3).ravel().tolist(),
        P=np.column_stack([k, np.zeros(3)]).ravel().tolist(),
    )


def _picture(image: ViewedImage, at: Timestamp) -> CompressedImage:
    return CompressedImage(timestamp=at, frame_id=image.camera.name, data=image.data, format=image.format)


def _cloud(points: np.ndarray, at: Timestamp) -> PointCloud:
    packed = np.ascontiguousarray(points, "<f4")
    fields = [
        PackedElementField(name=name, offset=4 * i, type=PackedElementField.FLOAT32) for i, name in enumerate("xyz")
    ]
    return PointCloud(
        timestamp=at,
        frame_id=EGO_FRAME,
        pose=Pose(position=_vector(np.zeros(3)), orientation=_quaternion(_UNTURNED)),
        point_stride=12,
        fields=fields,
        data=packed.tobytes(),
    )


def _scene(entities: Sequence[SceneEntity], at: Timestamp) -> SceneUpdate:
    """These entities in place of all earlier ones of the topic."""
    for number, entity in enumerate(entities):
        entity.timestamp.CopyFrom(at)
        entity.frame_id, entity.id = EGO_FRAME, str(number)
    return SceneUpdate(deletions=[SceneEntityDeletion(timestamp=at, type=SceneEntityDeletion.ALL)], entities=entities)


def _cube(boxes: Boxes, index: int) -> SceneEntity:
    """A prediction: a translucent cube in its class's colour, with class and score above it."""
    kind = boxes.class_of(index)
    score = f"{boxes.score[index]:.2f}"
    cube = CubePrimitive(pose=_pose(boxes, index), size=_vector(boxes.size[index]), color=_color(kind.color, 0.45))
    text = _text(boxes, index, f"{kind.name} {score}", kind.color)
    return SceneEntity(cubes=[cube], texts=[text], metadata=_metadata({"class": kind.name, "score": score}))


def _outlined(boxes: Boxes, index: int, color: Color) -> SceneEntity:
    """A ground-truth box: its twelve edges."""
    corners = boxes.corners()[index]
    points = [Point3(x=x, y=y, z=z) for edge in EDGES for x, y, z in corners[list(edge)].tolist()]
    lines = LinePrimitive(
        type=LinePrimitive.LINE_LIST,
        pose=Pose(position=_vector(np.zeros(3)), orientation=_quaternion(_UNTURNED)),
        thickness=OUTLINE_PIXELS,
        scale_invariant=True,
        points=points,
        color=_color(color, 1.0),
    )
    return SceneEntity(lines=[lines], metadata=_metadata({"class": boxes.class_of(index).name}))


def _fault(fault: Fault) -> SceneEntity:
    """An outline in the fault's colour; whoever selects it reads the reason in its metadata."""
    color = FAULT_COLORS[fault.kind]
    entity = _outlined(fault.box, 0, color)
    entity.texts.append(_text(fault.box, 0, fault.kind.value, color))
    entity.metadata.extend(_metadata({"fault": fault.kind.value, "reason": fault.reason}))
    return entity


def _text(boxes: Boxes, index: int, text: str, color: Color) -> TextPrimitive:
    above = boxes.center[index] + [0.0, 0.0, boxes.size[index, 2] / 2.0 + TEXT_HEIGHT]
    pose = Pose(position=_vector(above), orientation=_quaternion(_UNTURNED))
    return TextPrimitive(pose=pose, billboard=True, font_size=TEXT_HEIGHT, color=_color(color, 1.0), text=text)


def _pose(boxes: Boxes, index: int) -> Pose:
    orientation = _quaternion(quaternion_from_yaw(float(boxes.yaw[index])))
    return Pose(position=_vector(boxes.center[index]), orientation=orientation)


def _vector(xyz: np.ndarray) -> Vector3:
    x, y, z = map(float, xyz)
    return Vector3(x=x, y=y, z=z)


def _quaternion(wxyz: np.ndarray) -> Quaternion:
    w, x, y, z = map(float, wxyz)
    return Quaternion(x=x, y=y, z=z, w=w)


def _color(color: Color, alpha: float) -> FoxgloveColor:
    red, green, blue = (channel / 255.0 for channel in color)
    return FoxgloveColor(r=red, g=green, b=blue, a=alpha)


def _metadata(entries: dict[str, str]) -> list[KeyValuePair]:
    return [KeyValuePair(key=key, value=value) for key, value in entries.items()]
