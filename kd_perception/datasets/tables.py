"""nuScenes-format tables as nuscenes-devkit reads them, with what its schema leaves to the names of nuScenes' sensors.

Imports the devkit, so it is imported on use (`open_nuscenes`).
"""

from pathlib import Path

from nuscenes import NuScenes

from kd_perception.datasets.rigs import SceneRig, scene_rigs

UNKNOWN_POINTS = -1  # what the devkit takes for "not counted": its filter keeps such boxes


class Tables(NuScenes):
    """A data set's tables; `rigs`: the sensors of each scene, by scene token."""

    def __init__(self, dataroot: Path, version: str, anchor: str = "") -> None:
        """Raises what the devkit raises for missing or damaged tables, and DataError as `scene_rigs`."""
        super().__init__(version=version, dataroot=str(dataroot), verbose=False)
        self._complete_point_counts()
        self.rigs = scene_rigs(self, anchor)

    def rig_of(self, sample_token: str) -> SceneRig:
        """The rig of a sample's scene."""
        return self.rigs[self.get("sample", sample_token)["scene_token"]]

    def _complete_point_counts(self) -> None:
        """Annotations without counts get them: no RADAR points, and an unknown number of points where nothing measured.

        Nothing measured where a sample has neither LiDAR nor RADAR and no annotation of it has a point: a camera-only
        recording. The metric would drop every box there.
        """
        for row in self.sample_annotation:
            row["num_radar_pts"] = row.get("num_radar_pts") or 0
            if row.get("num_lidar_pts") is None:
                row["num_lidar_pts"], row["num_radar_pts"] = UNKNOWN_POINTS, 0
        for sample in self.sample:
            rows = [self.get("sample_annotation", token) for token in sample["anns"]]
            sensors = {self.get("sample_data", token)["sensor_modality"] for token in sample["data"].values()}
            if sensors <= {"camera"} and not any(row["num_lidar_pts"] + row["num_radar_pts"] for row in rows):
                for row in rows:
                    row["num_lidar_pts"] = UNKNOWN_POINTS
