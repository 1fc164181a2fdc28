"""nuScenes-format tables as nuscenes-devkit reads them, with what its schema leaves to the names of nuScenes' sensors.

Imports the devkit, so it is imported on use (`open_nuscenes`).
"""

from pathlib import Path

from nuscenes import NuScenes

from kd_perception.datasets.checks import check_tables
from kd_perception.datasets.rigs import SceneRig, scene_rigs

UNKNOWN_POINTS = -1  # what the devkit takes for "not counted": its filter keeps such boxes


class Tables(NuScenes):
    """A data set's tables; `rigs`: the sensors of each scene, by scene token."""

    def __init__(self, dataroot: Path, version: str, anchor: str = "") -> None:
        """Raises what the devkit raises for missing tables, and DataError as `check_tables` and `scene_rigs`."""
        super().__init__(version=version, dataroot=str(dataroot), verbose=False)
        self._complete_point_counts()
        self.rigs = scene_rigs(self, anchor)

    def rig_of(self, sample_token: str) -> SceneRig:
        """The rig of a sample's scene."""
        return self.rigs[self.get("sample", sample_token)["scene_token"]]

    def __load_table__(self, table_name: str) -> list[dict]:
        """A table's rows. The devkit loads the map's last: by then all others are checked, which it indexes next."""
        rows = super().__load_table__(table_name)
        if table_name != "map":
            return rows
        check_tables({name: getattr(self, name) for name in self.table_names[:-1]}, Path(self.table_root))
        return self._complete_maps(rows)

    def _complete_maps(self, rows: list[dict]) -> list[dict]:
        """A map for every log, as the devkit wants it; nothing here reads maps, so files and rows may be absent."""
        rows = [row for row in rows if isinstance(row.get("log_tokens"), list)]
        for row in rows:
            if not (Path(self.dataroot) / row["filename"]).exists():
                row["filename"] = ""
        mapped = {token for row in rows for token in row["log_tokens"]}
        without = [row["token"] for row in self.log if row["token"] not in mapped]
        return [*rows, {"token": "no map", "category": "", "filename": "", "log_tokens": without}]

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
