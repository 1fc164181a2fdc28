"""The rig of each scene of nuScenes-format tables: its cameras and LiDARs come from the tables, never from a list of
names.

One camera is the anchor: its exposure is a frame's time, and the grid lives in ego at that instant.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.transforms import make_transform

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

ANCHOR = "CAM_FRONT"  # nuScenes' anchor; a rig without it has the camera that looks ahead
ANCHOR_HELP = "Camera that gives a frame its time. Default: CAM_FRONT, else the camera that looks ahead."
LIDAR = "LIDAR_TOP"  # nuScenes' only LiDAR
MOST_CAMERAS = 12  # of a rig, as the detector has them


@dataclass(frozen=True)
class SceneRig:
    """The sensors of a scene, by channel.

    cameras: the anchor first, then clockwise as seen from above; lidars: LIDAR_TOP first, then by name; examples: one
    sample_data token of each camera, which gives the calibration of a camera that a sample lacks.
    """

    cameras: tuple[str, ...]
    lidars: tuple[str, ...]
    examples: Mapping[str, str]

    @property
    def anchor(self) -> str:
        """The camera that gives a frame its time."""
        return self.cameras[0]

    def keyframe_rows(self, nusc: "Tables", sample_token: str) -> list[dict]:
        """The sample_data rows of a keyframe's sensors that are there: cameras in order, then LiDARs."""
        rows = nusc.key_rows(sample_token)
        return [nusc.sample_data[rows[name]] for name in (*self.cameras, *self.lidars) if name in rows]

    def lidar_rows(self, nusc: "Tables", sample_token: str) -> list[dict]:
        """The sample_data rows of a keyframe's LiDARs that are there; the first gives the cloud its time."""
        rows = nusc.key_rows(sample_token)
        return [nusc.sample_data[rows[name]] for name in self.lidars if name in rows]


def scene_rigs(nusc: "Tables", anchor: str = "") -> dict[str, SceneRig]:
    """The rig of every scene, by scene token.

    `anchor`: the camera that is the anchor of those scenes that have it. Without it the anchor is CAM_FRONT, or else
    the camera whose optical axis is nearest to ego's x. Raises DataError for a scene of too many cameras.
    """
    return {scene: _rig(nusc, scene, rows, anchor) for scene, rows in nusc.first_rows().items()}


def check_anchor(anchor: str, data_sets: Collection["Tables"]) -> None:
    """Raise ConfigError if an anchor is asked for that no scene of any of the data sets has."""
    cameras = {name for tables in data_sets for rig in tables.rigs.values() for name in rig.cameras}
    if anchor and anchor not in cameras:
        raise ConfigError(
            f"no scene has the camera '{anchor}' that is to be the anchor; choose one of {', '.join(sorted(cameras))}"
        )


def _rig(nusc: "Tables", scene: str, rows: Mapping[str, dict], anchor: str) -> SceneRig:
    axes = {name: _optical_axis(nusc, row) for name, row in rows.items() if row["sensor_modality"] == "camera"}
    lidars = [name for name, row in rows.items() if row["sensor_modality"] == "lidar"]
    if len(axes) > MOST_CAMERAS:
        raise DataError(
            f"scene '{nusc.get('scene', scene)['name']}' has {len(axes)} cameras, at most {MOST_CAMERAS} can be used: "
            f"remove the sample_data rows of some of {', '.join(sorted(axes))}"
        )
    return SceneRig(
        cameras=_in_order(axes, anchor),
        lidars=tuple(sorted(lidars, key=lambda name: (name != LIDAR, name))),
        examples={name: rows[name]["token"] for name in axes},
    )


def _optical_axis(nusc: "Tables", row: dict) -> np.ndarray:
    """Direction (3,) in ego of a camera's optical axis."""
    calibration = nusc.get("calibrated_sensor", row["calibrated_sensor_token"])
    return make_transform(np.asarray(calibration["rotation"]), np.zeros(3))[:3, 2]


def _in_order(axes: Mapping[str, np.ndarray], wanted: str) -> tuple[str, ...]:
    """Cameras, anchor first, then clockwise; those that look the same way within a degree by name."""
    if not axes:
        return ()
    ahead = min(axes, key=lambda name: (-round(axes[name][0], 6), name))
    anchor = next((name for name in (wanted, ANCHOR) if name in axes), ahead)
    heading = {name: np.degrees(np.arctan2(axis[1], axis[0])) for name, axis in axes.items()}
    turn = {name: round(heading[anchor] - heading[name]) % 360 for name in axes}
    return tuple(sorted(axes, key=lambda name: (name != anchor, turn[name], name)))
