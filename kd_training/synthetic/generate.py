"""Writes a synthetic data set in nuScenes format: scenes in parallel, resumable, the same bytes for a seed whatever
the number of jobs.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from kd_perception.atomic import atomic_path, write_text
from kd_perception.errors import DataError
from kd_training.synthetic.annotate import Annotation, annotate
from kd_training.synthetic.camera import CameraRenderer
from kd_training.synthetic.card import Fact, write_card
from kd_training.synthetic.lidar import points_in_world, scan
from kd_training.synthetic.sensors import LIDAR_CHANNEL, STEPS_PER_KEYFRAME, scaled_intrinsics
from kd_training.synthetic.tables import SceneTables, write_tables
from kd_training.synthetic.world import World, build_world

JPEG_QUALITY = 90
CONTENT_VERSION = 1  # raise it when the rendered world changes: data sets of different versions do not mix
TABLES_EVERY = 8  # scenes; so that readers can start on what is finished


@dataclass(frozen=True)
class SynthConfig:
    """What to render: `scenes` scenes of `frames` keyframes (2 Hz) with `sweeps` LiDAR turns between them, cameras
    of width x height.
    """

    out: Path
    scenes: int
    frames: int = 20
    seed: int = 0
    width: int = 704
    height: int = 256
    sweeps: int = 9
    jobs: int = 2

    def __post_init__(self) -> None:
        if self.scenes < 1 or self.frames < 1 or self.jobs < 1 or self.seed < 0:
            raise ValueError(
                f"scenes, frames and jobs must be at least 1 and the seed at least 0, "
                f"got {self.scenes}, {self.frames}, {self.jobs} and {self.seed}"
            )
        if not 0 <= self.sweeps < STEPS_PER_KEYFRAME:
            raise ValueError(f"sweeps between keyframes must be 0 to {STEPS_PER_KEYFRAME - 1}, got {self.sweeps}")
        scaled_intrinsics(1.0, (0.0, 0.0), self.width, self.height)

    @property
    def content(self) -> dict[str, int]:
        """The settings that a finished scene's bytes depend on."""
        return {
            "version": CONTENT_VERSION,
            "frames": self.frames,
            "seed": self.seed,
            "width": self.width,
            "height": self.height,
            "sweeps": self.sweeps,
        }

    def scene_name(self, index: int) -> str:
        """Name of scene `index`, unique among seeds."""
        return f"synth-{self.seed}-{index:04d}"

    def scene_file(self, index: int) -> Path:
        """The file that says scene `index` is finished, and holds its rows."""
        return self.out / "scenes" / f"{self.scene_name(index)}.json"


def render_scene(config: SynthConfig, index: int) -> None:
    """Render and write scene `index`; its scene file comes last, atomically."""
    cv2.setNumThreads(1)
    seed = np.random.SeedSequence(config.seed, spawn_key=(index,))
    for_world, for_noise = seed.spawn(2)
    noise = np.random.default_rng(for_noise)
    steps = (config.frames - 1) * STEPS_PER_KEYFRAME + 1
    world = build_world(config.scene_name(index), for_world, steps, config.width, config.height)
    renderers = [
        CameraRenderer(world, camera, float(gain))
        for camera, gain in zip(world.rig.cameras, world.camera_gain, strict=True)
    ]
    tables = SceneTables(world, index, config.seed)
    between = [round(STEPS_PER_KEYFRAME * i / (config.sweeps + 1)) for i in range(1, config.sweeps + 1)]
    facts = []
    for frame in range(config.frames):
        step = frame * STEPS_PER_KEYFRAME
        tables.add_sample(step)
        annotations = _keyframe(config.out, world, renderers, tables, step, noise)
        tables.add_annotations(annotations)
        facts.append([astuple(_fact(world, step, annotation)) for annotation in annotations])
        for later in between if frame < config.frames - 1 else ():
            cloud = scan(world, world.geometry(step + later), step + later, noise)
            _write_cloud(config.out / tables.add_sensor(LIDAR_CHANNEL, step + later, keyframe=False), cloud)
    write_text(
        config.scene_file(index), json.dumps({"content": config.content, "tables": tables.finish(), "facts": facts})
    )


def _keyframe(
    out: Path, world: World, renderers: list[CameraRenderer], tables: SceneTables, step: int, noise: np.random.Generator
) -> list[Annotation]:
    geometry, pose = world.geometry(step), world.world_from_ego(step)
    frames = []
    for renderer, camera in zip(renderers, world.rig.cameras, strict=True):
        frames.append(renderer.render(geometry, pose, noise))
        jpeg = simplejpeg.encode_jpeg(frames[-1].image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420")
        with atomic_path(out / tables.add_sensor(camera.channel, step, keyframe=True)) as path:
            path.write_bytes(jpeg)
    cloud = scan(world, geometry, step, noise)
    _write_cloud(out / tables.add_sensor(LIDAR_CHANNEL, step, keyframe=True), cloud)
    return annotate(world, geometry, step, frames, renderers, points_in_world(world, step, cloud))


def _write_cloud(target: Path, cloud: np.ndarray) -> None:
    with atomic_path(target) as path:
        path.write_bytes(cloud.astype("<f4").tobytes())


def _fact(world: World, step: int, annotation: Annotation) -> Fact:
    x, y, _ = world.ego.at(step)
    distance = float(np.hypot(annotation.centre[0] - x, annotation.centre[1] - y))
    return Fact(
        world.actors[annotation.actor].name,
        round(distance, 2),
        annotation.lidar_points,
        annotation.visibility,
        round(annotation.speed, 2),
    )


def finished(config: SynthConfig) -> list[int]:
    """Indices of the scenes already rendered. Raises DataError if the folder holds other content."""
    done = []
    for index in range(config.scenes):
        path = config.scene_file(index)
        if path.exists():
            found = json.loads(path.read_text())["content"]
            if found != config.content:
                raise DataError(
                    f"{path} was rendered with other settings ({found}, not {config.content}); "
                    "choose another --out or delete that folder"
                )
            done.append(index)
    return done


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Worker processes inherit one thread for BLAS, so that sums do not depend on the machine's core count."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def generate(config: SynthConfig, on_scene: Callable[[int, int], None] | None = None) -> None:
    """Render what is missing, then write the tables and the card; `on_scene(done, total)` reports progress.

    Interrupted at any moment, a second call continues and ends with the same bytes. Raises DataError if `out` holds
    other content.
    """
    done = finished(config)
    missing = [index for index in range(config.scenes) if index not in done]
    report = on_scene or (lambda count, total: None)
    report(len(done), config.scenes)
    _remove_temporaries(config.out)
    if missing:
        try:
            _render_missing(config, missing, done, report)
        finally:
            _remove_temporaries(config.out)
    files = [config.scene_file(index) for index in range(config.scenes)]
    write_tables(config.out, files)
    facts = [[Fact(*row) for row in frame] for path in files for frame in json.loads(path.read_text())["facts"]]
    settings = {name: value for name, value in asdict(config).items() if name not in ("out", "jobs")}
    write_card(config.out, [fact for frame in facts for fact in frame], len(facts), settings)


def _render_missing(
    config: SynthConfig, missing: list[int], done: list[int], report: Callable[[int, int], None]
) -> None:
    """Render scenes in worker processes; on any exception, Ctrl-C included, the workers are ended before it goes on."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with (
        _single_threaded_children(),
        ProcessPoolExecutor(min(config.jobs, len(missing)), mp_context=context, initializer=_ignore_interrupts) as pool,
    ):
        try:
            pending = {pool.submit(render_scene, config, index): index for index in missing}
            while pending:
                ready, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in ready:
                    future.result()
                    done.append(pending.pop(future))
                    report(len(done), config.scenes)
                    if len(done) % TABLES_EVERY == 0 and pending:
                        write_tables(config.out, [config.scene_file(index) for index in sorted(done)])
        except BrokenProcessPool:
            raise DataError(
                f"a rendering process ended unexpectedly (out of memory?); run the same command again with fewer "
                f"--jobs than {config.jobs}, the finished scenes in {config.out} are kept"
            ) from None
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches a terminal's every process; the parent ends these


def _remove_temporaries(out: Path) -> None:
    """Remove what a killed worker was writing (`atomic_path` names it with a leading dot)."""
    for folder in (*out.glob("samples/*"), *out.glob("sweeps/*"), out / "scenes"):
        for path in folder.glob(".*"):
            path.unlink(missing_ok=True)
