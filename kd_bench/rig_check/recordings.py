"""Healthy recordings to plant mistakes in: rendered rigs, and real frames where their folder is given."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kd_perception.bags import messages
from kd_perception.bags.messages import BAG
from kd_perception.bags.nuscenes_bag import BagOptions, write_scene
from kd_perception.bags.writer import BagWriter
from kd_perception.datasets.devkit import NuScenes
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import invert, make_transform
from kd_perception.rig_check.moments import Moment, read_moments
from kd_perception.rig_check.recording import Recording, read_recording
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate

BASE_FRAME = "base_link"
RIGS = ("nuscenes", "moved", "distorted", "fisheye")
REAL_SETS = (("nuscenes-real", "v1.0-mini"), ("ddad-real", "v1.0-ddad"))
KITTI = "kitti-real"
MOMENTS = 4  # of a recording, as few as a short bag has: more would be told more


@dataclass(frozen=True)
class Healthy:
    """A recording without a mistake, and its moments."""

    name: str
    recording: Recording
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class RenderedStreets:
    """Rendered recordings: `scenes` of `frames` keyframes for each of RIGS, from one seed, kept in `out`."""

    out: Path
    scenes: int
    frames: int
    seed: int

    def recordings(self) -> Iterator[Healthy]:
        """Render what is missing; one recording after another, the rigs in turn."""
        sets = {rig: self._rendered(rig) for rig in RIGS}
        for index in range(self.scenes):
            for rig, nusc in sets.items():
                scene = scene_names(nusc)[index]
                bag = self.out / f"{rig}-{self.seed}" / scene
                if not bag.is_dir():
                    write_scene(nusc, scene, bag)
                yield _read(f"{rig} {scene}", bag)

    def _rendered(self, rig: str) -> NuScenes:
        config = SynthConfig(
            self.out / f"{rig}-{self.seed}" / "data",
            scenes=self.scenes,
            frames=self.frames,
            seed=self.seed,
            width=352,
            height=128,
            sweeps=0,
            jobs=1,
            rig=rig,
            city="mixed",
            light="mixed",
            weather="mixed",
        )
        generate(config)
        return open_nuscenes(config.out, SYNTHETIC_VERSION)


def real_recordings(folder: Path, out: Path) -> Iterator[Healthy]:
    """The real frames that lie in `folder`, as bags in `out`."""
    for name, version in REAL_SETS:
        if (folder / name).is_dir():
            nusc = open_nuscenes(folder / name, version)
            write_scene(nusc, scene_names(nusc)[0], out / name, BagOptions(overwrite=True))
            yield _read(name, out / name)
    if (folder / KITTI).is_dir():
        for image in sorted((folder / KITTI / "training" / "image_2").glob("*.png")):
            bag = out / f"{KITTI}-{image.stem}"
            _write_kitti(folder / KITTI / "training", image.stem, bag)
            yield _read(bag.name, bag)


def _read(name: str, bag: Path) -> Healthy:
    recording = read_recording(bag)
    return Healthy(name, recording, tuple(read_moments(recording, BASE_FRAME, MOMENTS)))


def _write_kitti(folder: Path, frame: str, out: Path) -> None:
    """A frame of KITTI's object set as a bag: base_link is the LiDAR's frame, one colour camera."""
    base_from_camera, k = _kitti_calibration((folder / "calib" / f"{frame}.txt").read_text())
    image_file = folder / "image_2" / f"{frame}.png"
    height, width, _ = cv2.imread(str(image_file)).shape
    camera = Camera.from_integer_centred("front", k, base_from_camera, width=width, height=height)
    points = np.fromfile(folder / "velodyne" / f"{frame}.bin", np.float32).reshape(-1, 4)
    points = np.column_stack([points, np.zeros(len(points))])
    stamp_ns = 10**9
    mountings = [(BASE_FRAME, "front", base_from_camera), (BASE_FRAME, "velodyne", np.eye(4))]
    content = {
        "/tf_static": messages.tf(stamp_ns, mountings),
        "/tf": messages.tf(stamp_ns, [("odom", BASE_FRAME, np.eye(4))]),
        "/velodyne/points": messages.point_cloud(stamp_ns, "velodyne", points),
        "/front/camera_info": BAG.camera_info(camera, "front", stamp_ns),
        "/front/image/compressed": BAG.compressed_image(stamp_ns, "front", image_file.read_bytes(), "png"),
    }
    with BagWriter(out, overwrite=True) as bag:
        for offset, (topic, message) in enumerate(content.items()):
            bag.write(topic, message, stamp_ns + offset)


def _kitti_calibration(text: str) -> tuple[np.ndarray, np.ndarray]:
    """base_from_camera (4, 4) and K (3, 3) of the rectified colour camera, from a calibration file's text."""
    rows = {
        name: np.array(values.split(), dtype=np.float64)
        for name, _, values in (line.partition(":") for line in text.splitlines() if ":" in line)
    }
    projection, velo = rows["P2"].reshape(3, 4), rows["Tr_velo_to_cam"].reshape(3, 4)
    shifted = make_transform(np.eye(3), np.linalg.inv(projection[:, :3]) @ projection[:, 3])
    rectified = make_transform(rows["R0_rect"].reshape(3, 3), np.zeros(3))
    camera_from_base = shifted @ rectified @ make_transform(velo[:, :3], velo[:, 3])
    return invert(camera_from_base), projection[:, :3]
