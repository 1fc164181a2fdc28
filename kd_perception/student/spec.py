"""The student file: one ONNX file that holds the whole model and states how to run it.

Plain ONNX operators, precision baked in, normalisation inside the graph, one JSON in `metadata_props["kd_student"]`.
Inputs: `images` (cameras, height, width, 3) uint8 RGB; `camera_valid` (cameras,) float32, 0 for a missing camera;
    `camera_params` (cameras, K) float32, if the spec's `camera_params` is K and not 0 (`student.camera_params`);
    the geometry tables of the view transform (`student.view_tables`). Tables and parameters are computed at run
    time from the calibration (`student.geometry_inputs`).
Outputs: `heatmap` (classes, rows, columns) float32 in [0, 1]; `regression` (head groups, codes, rows, columns)
    float32, box codes that the spec's `heading` chooses (`student.box_codes`): "vector" has 10 codes, "axis" 12.
A temporal student (`temporal_frames` 2) has further inputs, MEMORY_INPUTS: `bev_memory` (its spec's `memory_shape`)
    float32, the `bev_feature` of an earlier frame, on the grid of that frame; `bev_warp` (rows, columns, 2) float32,
    where each cell lies in it (`runtime.bev_memory.warp_table`); `memory_valid` (1,) float32, 0 without an earlier
    frame; `memory_interval` (1,) float32, seconds since that frame. And the output `bev_feature`, to be kept.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from kd_perception.errors import ConfigError, StudentError
from kd_perception.geometry.classes import NUSCENES, ClassList, unknown_key
from kd_perception.geometry.grid import BevGrid
from kd_perception.resources import student_path
from kd_perception.student.ancestry import Ancestor
from kd_perception.student.box_codes import BoxCoding, Heading, coding_of
from kd_perception.student.camera_params import CAMERA_PARAMS
from kd_perception.student.model_file import check_codes, read_model

METADATA_KEY = "kd_student"
CAMERA_AXIS = "cameras"  # name of the first dimension of CAMERA_INPUTS; fixed when an engine opens the file
PARAMS_INPUT = "camera_params"
CAMERA_INPUTS = ("images", "camera_valid", PARAMS_INPUT)  # the last only of students that take it
OUTPUTS = ("heatmap", "regression")
MEMORY_INPUT = "bev_memory"
MEMORY_INPUTS = (MEMORY_INPUT, "bev_warp", "memory_valid", "memory_interval")
MEMORY_OUTPUT = "bev_feature"
# Format 1 only names its classes: always the ten of nuScenes. Formats 1 and 2 do not say how headings are coded: always
# as Heading.vector.
FORMAT_VERSION, KNOWN_FORMATS = 3, (1, 2, 3)
ATTENTION = "attention"
VIEW_TRANSFORMS = ("pull", "splat", ATTENTION)
PRECISIONS = ("fp32", "fp16", "int8")


def table_axis(name: str) -> str:
    """Name of a view table's first dimension where it depends on the number of cameras; fixed as CAMERA_AXIS is."""
    return f"rows_{name}"


@dataclass(frozen=True)
class DepthBins:
    """Uniform bins of RANGE along the pixel's ray (not z), metres: any lens, also beyond 180 degrees, has a range.

    `focal` in pixels of the network image: the focal length at which the bins hold. A camera of focal length f has its
    bins at f / focal times the range, so that an object of one size in pixels is in one bin whatever the lens (virtual
    depth as in Cube R-CNN, arXiv:2207.10660). 0 takes the bins as they are for every camera.
    """

    start: float
    step: float
    count: int
    focal: float = 0.0


@dataclass(frozen=True)
class ViewSpec:
    """How image features reach the grid.

    kind: 'pull', 'splat' or 'attention'; stride: pixels per feature cell, of the finest level; depth: bins, of which
    'attention' has none; heights: z in base_link (metres) of the points at which `pull` and 'attention' look at each
    cell; z_range: metres within which `splat` keeps points.
    """

    kind: str
    stride: int
    depth: DepthBins
    heights: tuple[float, ...]
    z_range: tuple[float, float]


@dataclass(frozen=True)
class MemorySpec:
    """The memory of a temporal student: BEV features of `channels` channels.

    It was trained with earlier frames `shortest_s` to `longest_s` seconds old and works best with one of `interval_s`.
    A remembered cell is as long and as wide as `stride` cells of the grid.
    """

    channels: int
    interval_s: float
    shortest_s: float
    longest_s: float
    stride: int = 1

    def shape(self, grid: BevGrid) -> tuple[int, int, int]:
        """(channels, rows, columns) of what is remembered of a grid."""
        rows, columns = grid.shape
        return self.channels, rows // self.stride, columns // self.stride


@dataclass(frozen=True)
class StudentSpec:
    """Everything needed to run a student file and to trust it.

    `provenance` is free text for people: data, command, commit. `ancestry`: the students that updates began from, the
    first one first.
    """

    name: str
    grid: BevGrid
    image_size: tuple[int, int]  # (height, width) in pixels
    view: ViewSpec
    trained_cameras: int
    mean: tuple[float, float, float]  # RGB in [0, 255], applied inside the file; stated for the record
    std: tuple[float, float, float]
    precision: str = "fp32"
    temporal_frames: int = 1
    memory: MemorySpec | None = None  # of a student of two frames
    camera_params: int = 0  # length of a camera's row in the input of that name; 0: the file has no such input
    classes: ClassList = NUSCENES
    heading: Heading = Heading.axis
    provenance: dict[str, str] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    ancestry: tuple[Ancestor, ...] = ()

    @property
    def coding(self) -> BoxCoding:
        """What the channels of the file's regression mean."""
        return coding_of(self.heading)

    @property
    def feature_size(self) -> tuple[int, int]:
        """(rows, columns) of one camera's feature map."""
        return self.image_size[0] // self.view.stride, self.image_size[1] // self.view.stride

    def camera_shapes(self, cameras: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the file's inputs that have a camera axis, in the file's order."""
        shapes = {"images": (cameras, *self.image_size, 3), "camera_valid": (cameras,)}
        return shapes | {PARAMS_INPUT: (cameras, self.camera_params)} if self.camera_params else shapes

    @property
    def memory_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of the remembered feature; no channels without memory."""
        return (0, *self.grid.shape) if self.memory is None else self.memory.shape(self.grid)

    @property
    def memory_grid(self) -> BevGrid:
        """The grid with the cells of the memory, whose cells are also the BEV queries of 'attention'."""
        return replace(self.grid, cell_size=self.grid.cell_size * (1 if self.memory is None else self.memory.stride))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the file's outputs, in order."""
        return OUTPUTS if self.memory is None else (*OUTPUTS, MEMORY_OUTPUT)

    def to_json(self) -> str:
        """The metadata JSON; raises StudentError if a figure is NaN or infinite, which JSON cannot hold."""
        fields = asdict(self)
        if self.memory is None:
            del fields["memory"]  # readers that know of no memory read the file as before
        elif self.memory.stride == 1:
            del fields["memory"]["stride"]
        if not self.camera_params:
            del fields["camera_params"]
        if not self.ancestry:
            del fields["ancestry"]
        try:
            return json.dumps({"format": FORMAT_VERSION, **fields}, indent=1, allow_nan=False)
        except ValueError as error:
            raise StudentError(f"student {self.name} has a figure that is no finite number ({error})") from error

    @staticmethod
    def from_json(text: str, where: str) -> "StudentSpec":
        """Parse and check metadata; StudentError names `where` and the field that is missing, unknown or unfit."""
        try:
            version = msgspec.json.decode(text, type=_Format).format
            if version not in KNOWN_FORMATS:
                raise StudentError(
                    f"{where}: student format {version} is not 1, 2 or 3; export it again with kd export"
                )
            fields = msgspec.json.decode(text, type=dict[str, Any])
            del fields["format"]
            if version == 1:
                _refuse_other_names(fields.pop("classes", list(NUSCENES.names)), where)
            if version < 3:
                fields["heading"] = Heading.vector.value
            spec = msgspec.convert(fields, StudentSpec)
            if unknown := unknown_key(fields, msgspec.to_builtins(spec)):
                raise msgspec.ValidationError(f"Object contains unknown field `{unknown}`")
        except msgspec.MsgspecError as error:
            raise StudentError(
                f"{where}: its student metadata is damaged ({error}); export the model again with kd export"
            ) from error
        spec.check(where)
        return spec

    def check(self, where: str) -> None:
        """Raise StudentError naming `where` if a value is out of range or the fields do not fit together."""
        sizes = (*self.image_size, self.view.stride, self.view.depth.count, self.trained_cameras)
        if min(sizes) < 1 or not self.view.depth.step > 0.0:
            raise StudentError(
                f"{where}: image size {self.image_size}, stride {self.view.stride}, {self.view.depth.count} depth bins "
                f"of {self.view.depth.step} m and {self.trained_cameras} cameras must all be above 0"
            )
        if self.view.kind not in VIEW_TRANSFORMS:
            raise StudentError(
                f"{where}: view transform '{self.view.kind}' is unknown (known: {', '.join(VIEW_TRANSFORMS)})"
            )
        if self.precision not in PRECISIONS:
            raise StudentError(f"{where}: precision '{self.precision}' is unknown (known: {', '.join(PRECISIONS)})")
        if self.image_size[0] % self.view.stride or self.image_size[1] % self.view.stride:
            raise StudentError(
                f"{where}: image size {self.image_size} is not a multiple of the feature stride {self.view.stride}"
            )
        if self.temporal_frames != (1 if self.memory is None else 2):
            raise StudentError(
                f"{where}: {self.temporal_frames} temporal frames are not what its memory needs (1 without, 2 with one)"
            )
        memory = self.memory
        if memory is not None and not 0.0 < memory.shortest_s <= memory.interval_s <= memory.longest_s:
            raise StudentError(
                f"{where}: its memory's intervals must rise from shortest ({memory.shortest_s} s) over the best "
                f"({memory.interval_s} s) to longest ({memory.longest_s} s)"
            )
        if memory is None and self.view.kind == ATTENTION:
            raise StudentError(
                f"{where}: the view transform 'attention' looks at an earlier frame, but it has no memory; give "
                "model.temporal.frames=2, or more"
            )
        if memory is not None and (memory.stride < 1 or any(cells % memory.stride for cells in self.grid.shape)):
            raise StudentError(
                f"{where}: {self.grid.shape} cells of the grid are no multiple of its memory's stride {memory.stride}"
            )
        if self.camera_params not in (0, CAMERA_PARAMS):
            raise StudentError(
                f"{where}: it takes {self.camera_params} parameters of each camera, this version has {CAMERA_PARAMS}; "
                "export it again with kd export"
            )
        try:
            self.classes.check(where)
        except ConfigError as error:
            raise StudentError(str(error)) from error


@dataclass(frozen=True)
class _Format:
    format: int


def _refuse_other_names(names: list[str], where: str) -> None:
    """Raise StudentError if a file of format 1, whose classes are nuScenes', names others."""
    if tuple(names) != NUSCENES.names:
        raise StudentError(
            f"{where}: its classes {names} are not the ten nuScenes classes in CenterPoint's order; export it again "
            "with kd export"
        )


@dataclass(frozen=True)
class Student:
    """A student file on disk: where it is, what it is, and its content's hash, which names detections."""

    kind: ClassVar[str] = "student"
    path: Path
    spec: StudentSpec
    sha256: str

    @property
    def model_id(self) -> str:
        """Name and short hash, written into every detection message."""
        return f"{self.spec.name}@{self.sha256[:12]}"


def load_student(path: Path) -> Student:
    """Open a student file's metadata, of a path or a shipped student's name (`resources.student_path`).

    Raises StudentError if it is missing, truncated or not written by kd export.
    """
    path = student_path(Path(path))
    read = read_model(path, METADATA_KEY, "student")
    spec = StudentSpec.from_json(read.metadata, str(path))
    check_codes(read.model, OUTPUTS[1], spec.coding, path)
    return Student(path, spec, read.sha256)
