"""`kd bag`: a scene of any nuScenes-format data set as a rosbag2, image bytes untouched, streamed file by file.

Topics, for all cameras and LiDARs of the scene: /<CAMERA>/image/compressed, /<CAMERA>/camera_info, /<LIDAR>/points,
/tf, /tf_static, /odom, /sample, /truth/markers. Frames (REP-105): map -> odom -> base_link -> sensors; map is the data
set's global frame, odom the ego's first pose in it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from transforms3d.axangles import mat2axangle

from kd_perception.bags import messages
from kd_perception.bags.messages import BAG
from kd_perception.bags.writer import BagWriter
from kd_perception.datasets.nuscenes import (
    camera_image,
    ego_pose,
    ground_truth_boxes,
    open_nuscenes,
    read_lidar,
    scene_row,
    scene_samples,
    sensor_transform,
)
from kd_perception.datasets.rigs import ANCHOR_HELP, SceneRig, check_anchor
from kd_perception.errors import DataError
from kd_perception.geometry.classes import CLASSES_HELP, NUSCENES, ClassList
from kd_perception.geometry.transforms import invert
from kd_perception.messages.builder import Message
from kd_perception.messages.markers import MarkerFrame
from kd_perception.student.classes import chosen_classes

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

TWIST_HALF_WINDOW = 0.1  # seconds each side: neighbouring poses are milliseconds apart, too close to differentiate
TOPIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
IMAGE_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}


@dataclass(frozen=True)
class Poses:
    """The scene's ego poses by time: stamps_us (N,) rising, odom_from_base (N, 4, 4), and map_from_odom (4, 4)."""

    stamps_us: np.ndarray
    odom_from_base: np.ndarray
    map_from_odom: np.ndarray

    def twist(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Linear (m/s) and angular (rad/s) velocity (3,) in base_link, by central difference; zero for a lone pose."""
        seconds = (self.stamps_us - self.stamps_us[index]) / 1e6
        before = int(np.searchsorted(seconds, -TWIST_HALF_WINDOW))
        after = min(int(np.searchsorted(seconds, TWIST_HALF_WINDOW)), len(seconds) - 1)
        duration = seconds[after] - seconds[before]
        if duration <= 0.0:
            return np.zeros(3), np.zeros(3)
        start, end, now = self.odom_from_base[before], self.odom_from_base[after], self.odom_from_base[index]
        axis, angle = mat2axangle(start[:3, :3].T @ end[:3, :3])
        return now[:3, :3].T @ (end[:3, 3] - start[:3, 3]) / duration, axis * angle / duration


@dataclass(frozen=True)
class BagOptions:
    """How a scene becomes a bag.

    storage: 'mcap' or 'sqlite3'; overwrite: replace an existing bag; classes: of the ground truth.
    """

    storage: str = "mcap"
    keyframes_only: bool = False
    overwrite: bool = False
    classes: ClassList = NUSCENES


@dataclass(frozen=True)
class _Scene:
    """A scene's name, its sensors' rows by time, and the poses at their times."""

    name: str
    rows: Sequence[dict]
    poses: Poses


def write_scene(
    nusc: "Tables",
    scene: str,
    out: Path,
    options: BagOptions = BagOptions(),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Convert one scene; `progress(done, total)` is called after each sensor message.

    Memory holds one file at a time and the scene's table rows. Raises DataError naming what the tables or the folder
    lack, before anything is written.
    """
    rig = nusc.rigs[scene_row(nusc, scene)["token"]]
    _check_names(rig, scene)
    rows = _sensor_rows(nusc, scene, rig, keyframes_only=options.keyframes_only)
    poses = _poses(nusc, rows)
    with BagWriter(out, options.storage, overwrite=options.overwrite) as bag:
        last_ns = -1
        for stamp_ns, topic, message in _in_order(nusc, _Scene(scene, rows, poses), options.classes, progress):
            last_ns = max(stamp_ns, last_ns + 1)  # strictly rising: players sort by time and must keep this order
            bag.write(topic, message, last_ns)


def _check_names(rig: SceneRig, scene: str) -> None:
    """Raise DataError for a scene without a camera, and for channels that are no names of topics."""
    if not rig.cameras:
        raise DataError(f"scene '{scene}' has no camera, which gives a frame its time; choose another scene")
    for channel in (*rig.cameras, *rig.lidars):
        if not TOPIC_NAME.fullmatch(channel):
            raise DataError(
                f"the channel '{channel}' of scene '{scene}' cannot be part of a topic name; rename it in sensor.json "
                "with letters, digits and underscores, a letter first"
            )


def _sensor_rows(nusc: "Tables", scene: str, rig: SceneRig, *, keyframes_only: bool) -> list[dict]:
    """sample_data rows of the scene's cameras and LiDARs by time, their files present (DataError otherwise)."""
    wanted, channels = set(scene_samples(nusc, scene)), (*rig.cameras, *rig.lidars)
    token = scene_row(nusc, scene)["token"]
    numbers = np.sort(np.concatenate([nusc.exposures(token, channel) for channel in channels]))
    rows = [nusc.sample_data[int(number)] for number in numbers]
    rows = [row for row in rows if row["sample_token"] in wanted]
    rows = [row for row in rows if row["is_key_frame"] or not keyframes_only]
    anchored = {row["sample_token"] for row in rows if row["channel"] == rig.anchor and row["is_key_frame"]}
    if anchored != wanted:
        token = min(wanted - anchored)
        raise DataError(
            f"sample {token} of scene '{scene}' has no {rig.anchor} keyframe in sample_data, "
            "the camera that gives a frame its time; restore the row, or choose another camera with --anchor"
        )
    missing = [row for row in rows if not (Path(nusc.dataroot) / row["filename"]).is_file()]
    if missing:
        hint = "" if any(row["is_key_frame"] for row in missing) else ", or pass --keyframes-only"
        raise DataError(
            f"{len(missing)} of {len(rows)} sensor files of scene '{scene}' are missing, the first is "
            f"{Path(nusc.dataroot) / missing[0]['filename']}; restore them{hint}"
        )
    return sorted(rows, key=lambda row: (row["timestamp"], channels.index(row["channel"])))


def _poses(nusc: "Tables", rows: Sequence[dict]) -> Poses:
    """One pose per distinct sensor time; where sensors share a time the anchor's pose counts (it sorts first)."""
    by_stamp: dict[int, np.ndarray] = {}
    for row in rows:
        if row["timestamp"] not in by_stamp:
            by_stamp[row["timestamp"]] = ego_pose(nusc, row)
    stamps, global_from_base = np.array(list(by_stamp)), np.stack(list(by_stamp.values()))
    return Poses(stamps, invert(global_from_base[0]) @ global_from_base, global_from_base[0])


def _in_order(
    nusc: "Tables", scene: _Scene, classes: ClassList, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, str, Message]]:
    """All messages as (stamp in ns, topic, message): tf before the sensors of its time, a Sample after its keyframe."""
    rows, poses = scene.rows, scene.poses
    remaining = Counter(row["sample_token"] for row in rows if row["is_key_frame"])
    start_ns = rows[0]["timestamp"] * 1000
    first_rows = {row["channel"]: row for row in reversed(rows)}
    mountings = [("base_link", channel, sensor_transform(nusc, row)) for channel, row in first_rows.items()]
    yield start_ns, "/tf_static", messages.tf(start_ns, [("map", "odom", poses.map_from_odom), *mountings])
    calibration = {channel: row["calibrated_sensor_token"] for channel, row in first_rows.items()}
    written_poses = 0
    for done, row in enumerate(rows, start=1):
        stamp_ns = row["timestamp"] * 1000
        if written_poses < len(poses.stamps_us) and poses.stamps_us[written_poses] == row["timestamp"]:
            pose = poses.odom_from_base[written_poses]
            yield stamp_ns, "/tf", messages.tf(stamp_ns, [("odom", "base_link", pose)])
            yield stamp_ns, "/odom", messages.odometry(stamp_ns, pose, *poses.twist(written_poses))
            written_poses += 1
        if calibration[row["channel"]] != row["calibrated_sensor_token"]:
            calibration[row["channel"]] = row["calibrated_sensor_token"]
            yield (
                stamp_ns,
                "/tf_static",
                messages.tf(stamp_ns, [("base_link", row["channel"], sensor_transform(nusc, row))]),
            )
        yield from _sensor_messages(nusc, row)
        if row["is_key_frame"]:
            remaining[row["sample_token"]] -= 1
            if remaining[row["sample_token"]] == 0:
                yield from _keyframe_messages(nusc, scene.name, row["sample_token"], stamp_ns, classes)
        if progress is not None:
            progress(done, len(rows))


def _sensor_messages(nusc: "Tables", row: dict) -> Iterator[tuple[int, str, Message]]:
    stamp_ns, channel = row["timestamp"] * 1000, row["channel"]
    if row["sensor_modality"] == "lidar":
        yield stamp_ns, f"/{channel}/points", messages.point_cloud(stamp_ns, channel, read_lidar(nusc, row))
        return
    image = camera_image(nusc, row["token"])
    encoding = IMAGE_FORMATS.get(image.path.suffix.lower())
    if encoding is None:
        raise DataError(f"image {image.path} is neither JPEG nor PNG; convert it")
    yield stamp_ns, f"/{channel}/camera_info", BAG.camera_info(image.camera, channel, stamp_ns)
    yield (
        stamp_ns,
        f"/{channel}/image/compressed",
        BAG.compressed_image(stamp_ns, channel, image.read(), encoding),
    )


def _keyframe_messages(
    nusc: "Tables", scene: str, token: str, now_ns: int, classes: ClassList
) -> Iterator[tuple[int, str, Message]]:
    """The Sample and its ground truth, stamped with the anchor's exposure and recorded now."""
    anchor = nusc.get("sample_data", nusc.get("sample", token)["data"][nusc.rig_of(token).anchor])
    anchor_ns = anchor["timestamp"] * 1000
    boxes, _ = ground_truth_boxes(nusc, token, ego_pose(nusc, anchor), classes)
    yield now_ns, "/truth/markers", MarkerFrame(BAG, "base_link", anchor_ns).ground_truth(boxes)
    yield now_ns, "/sample", messages.sample(anchor_ns, scene, token)


def bag(
    *,
    dataroot: Annotated[Path, typer.Option(help="Folder of the data set: holds samples/ and the tables' folder.")],
    version: Annotated[str, typer.Option(help="Name of the tables' folder, e.g. v1.0-mini.")],
    scene: Annotated[str, typer.Option(help="Name of the scene, e.g. scene-0061.")],
    out: Annotated[Path, typer.Option(help="Bag folder to write.")],
    storage: Annotated[str, typer.Option(help="mcap or sqlite3.")] = "mcap",
    keyframes_only: Annotated[
        bool, typer.Option("--keyframes-only", help="Leave out camera frames and sweeps between keyframes.")
    ] = False,
    classes: Annotated[Path | None, typer.Option(help=f"Of the ground truth: {CLASSES_HELP}")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bag.")] = False,
    anchor: Annotated[
        str,
        typer.Option(help=ANCHOR_HELP),
    ] = "",
) -> None:
    """Convert a scene of a nuScenes-format data set to a rosbag2."""
    console = Console(stderr=True)
    nusc = open_nuscenes(dataroot, version, anchor)
    check_anchor(anchor, [nusc])
    with Progress(console=console) as bars:
        task = bars.add_task(f"{scene} -> {out}", total=None)
        write_scene(
            nusc,
            scene,
            out,
            BagOptions(storage, keyframes_only=keyframes_only, overwrite=force, classes=chosen_classes(classes)),
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    console.print(f"wrote [bold]{out}[/bold] ({storage}, {sum(f.stat().st_size for f in out.iterdir()) / 1e6:.1f} MB)")
