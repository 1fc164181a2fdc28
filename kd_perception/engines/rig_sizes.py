"""Sizes of a file's inputs that depend on the number of cameras, for engines that are built for sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kd_perception.engines.protocol import for_rig
from kd_perception.geometry.camera import ring_rig
from kd_perception.student.spec import StudentSpec
from kd_perception.student.view_tables import build_tables

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Profile:
    """Sizes that the inputs of a plan may have, by name: those of one camera, and those of `cameras`, the most that it
    takes, for which its kernels are chosen. No sizes for a model without a camera axis."""

    cameras: int
    smallest: Shapes
    largest: Shapes

    @property
    def rigs(self) -> str:
        """For sentences: the rigs that it takes."""
        return f" for 1 to {self.cameras} cameras" if self.cameras > 1 else for_rig(self.cameras)


def rig_profile(spec: object, cameras: int) -> Profile:
    """One plan serves every rig up to the count that the student was trained with; a larger rig has its own."""
    if not isinstance(spec, StudentSpec):
        return Profile(0, {}, {})
    most = max(cameras, spec.trained_cameras)
    return Profile(most, input_shapes(spec, 1), input_shapes(spec, most))


def input_shapes(spec: object, cameras: int) -> dict[str, tuple[int, ...]]:
    """Sizes of a student's inputs that depend on the camera count; an ideal rig's tables have the sizes of any rig's.

    A teacher's sizes are all fixed.
    """
    if not isinstance(spec, StudentSpec):
        return {}
    height, width = spec.image_size
    tables = build_tables(spec, ring_rig(cameras, width, height), [np.eye(3)] * cameras)
    return spec.camera_shapes(cameras) | {name: table.shape for name, table in tables.items()}
