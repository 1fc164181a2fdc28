"""The teacher file: one ONNX file that holds a LiDAR teacher and states how to run it, as a student's does.

Plain ONNX operators without scatter, one JSON in `metadata_props["kd_teacher"]`. All sizes are fixed: one plan and one
time per frame, whatever the street is like.
Inputs (`teacher.pillars` makes them): `points` (most, 9) float32, the features of a cloud's points, those of a pillar
    behind each other; `followers` (most,) int32, how many points of its pillar follow each; `first_point`
    (cells,) int32, for each cell of the raster its pillar's first point, `most` where there is none.
Outputs: `heatmap` and `regression`, as a student's (`student.spec`).
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from kd_perception.errors import ConfigError, StudentError
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import BoxCoding, Heading, coding_of
from kd_perception.student.model_file import check_codes, read_model
from kd_perception.student.spec import OUTPUTS

METADATA_KEY = "kd_teacher"
POINTS_INPUT, FOLLOWERS_INPUT, FIRST_POINT_INPUT = INPUTS = ("points", "followers", "first_point")
FORMAT_VERSION = 1
OLDEST_S = 1.5  # a sweep older than this is of another drive, or of a gap in the recording
EGO_VEHICLE = (-1.5, 3.5, -1.1, 1.1)  # x and y range of the car itself in ego, metres (nuScenes: a Renault Zoe)


@dataclass(frozen=True)
class PointsSpec:
    """The points of a moment.

    sweeps: of each LiDAR, the newest included, at most `oldest_s` seconds old; z_range: metres above base_link;
    own_body: x_min, x_max, y_min, y_max of the robot itself in base_link, where there are no points; per_pillar: about
    so many points of a crowded pillar are left, at random; most: of a whole cloud; 0: no such limit. crowd: of a pillar
    in a file, where there are limits always.
    """

    sweeps: int
    z_range: tuple[float, float]
    per_pillar: int
    most: int
    crowd: int = 0
    oldest_s: float = OLDEST_S
    own_body: tuple[float, float, float, float] = EGO_VEHICLE


@dataclass(frozen=True)
class TeacherSpec:
    """Everything needed to run a teacher file and to trust it.

    grid: of the outputs; pillar_size: metres; the pillars' raster has the grid's extent.
    """

    name: str
    grid: BevGrid
    pillar_size: float
    points: PointsSpec
    classes: ClassList = NUSCENES
    heading: Heading = Heading.axis
    precision: str = "fp32"
    provenance: dict[str, str] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)

    @property
    def coding(self) -> BoxCoding:
        """What the channels of the file's regression mean."""
        return coding_of(self.heading)

    @property
    def raster(self) -> BevGrid:
        """The pillars' raster."""
        return replace(self.grid, cell_size=self.pillar_size)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the file's outputs, in order."""
        return OUTPUTS

    def to_json(self) -> str:
        """The metadata JSON; raises StudentError if a figure is NaN or infinite, which JSON cannot hold."""
        try:
            return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, indent=1, allow_nan=False)
        except ValueError as error:
            raise StudentError(f"teacher {self.name} has a figure that is no finite number ({error})") from error

    @staticmethod
    def from_json(text: str, where: str) -> "TeacherSpec":
        """Parse and check metadata; StudentError names `where` and the field that is missing, unknown or unfit."""
        try:
            fields = msgspec.json.decode(text, type=dict[str, Any])
            version = fields.pop("format", None)
            if version != FORMAT_VERSION:
                raise StudentError(
                    f"{where}: teacher format {version} is not {FORMAT_VERSION}; export it again with kd export"
                )
            spec = msgspec.convert(fields, TeacherSpec)
        except msgspec.MsgspecError as error:
            raise StudentError(
                f"{where}: its teacher metadata is damaged ({error}); export the model again with kd export"
            ) from error
        spec.check(where)
        return spec

    def check(self, where: str) -> None:
        """Raise StudentError naming `where` if a value is out of range."""
        points = self.points
        if min(points.sweeps, points.most, points.crowd) < 1 or not points.z_range[0] < points.z_range[1]:
            raise StudentError(
                f"{where}: {points.sweeps} sweeps, {points.most} points and {points.crowd} in a pillar must be above "
                f"0, and its heights {points.z_range} must rise"
            )
        try:
            self.classes.check(where)
            replace(self.grid, cell_size=self.pillar_size)  # raises where pillars do not fill the grid
        except (ConfigError, ValueError) as error:
            raise StudentError(f"{where}: {error}") from error


@dataclass(frozen=True)
class Teacher:
    """A teacher file on disk, as `student.spec.Student` is one of a student."""

    kind: ClassVar[str] = "teacher"
    path: Path
    spec: TeacherSpec
    sha256: str

    @property
    def model_id(self) -> str:
        """Name and short hash, written into every detection message."""
        return f"{self.spec.name}@{self.sha256[:12]}"


def open_teacher(path: Path) -> Teacher:
    """Open a teacher file's metadata; raises StudentError if it is missing, truncated or no teacher's."""
    read = read_model(Path(path), METADATA_KEY, "teacher")
    spec = TeacherSpec.from_json(read.metadata, str(path))
    check_codes(read.model, OUTPUTS[1], spec.coding, path)
    return Teacher(Path(path), spec, read.sha256)
