"""Data sets of a bench: what each is rendered from, its identity, and the boxes that the metric counts in it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import DataError
from kd_perception.evaluation.metric import counted
from kd_perception.geometry.classes import CLASSES
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate
from kd_training.config.sections import DataRoot
from kd_training.data.frames import open_dataset


@dataclass(frozen=True)
class SplitPlan:
    """What to render: scenes of `frames` keyframes from `seed` on, and the conditions they are rendered in.

    `sweeps`: LiDAR turns between two keyframes.
    """

    scenes: int
    seed: int
    frames: int = 20
    width: int = 704
    height: int = 256
    sweeps: int = 4  # 10 turns a second, as most robots' LiDARs have; 20 take half as long again to render
    city: str = "A"
    light: str = "day"
    weather: str = "dry"

    def config(self, root: Path, jobs: int) -> SynthConfig:
        """The settings of the renderer, with masks, into `root`."""
        return SynthConfig(
            root, scenes=self.scenes, frames=self.frames, seed=self.seed, width=self.width, height=self.height,
            sweeps=self.sweeps, city=self.city, light=self.light, weather=self.weather, jobs=jobs, masks=True,
        )  # fmt: skip


@dataclass(frozen=True)
class Split:
    """An existing data set.

    identity: a digest of its content, the same on every machine; boxes: by class, as the metric counts them.
    """

    source: DataRoot
    identity: str
    scenes: tuple[str, ...]
    keyframes: int
    boxes: Mapping[str, int]

    @property
    def identities(self) -> dict[str, str]:
        """The identity by root, as `training_digest` takes it."""
        return {self.source.root: self.identity}

    def shortages(self, *, scenes: int, boxes: int) -> list[str]:
        """Sentences on what the set lacks of so many scenes, and so many boxes of every class."""
        few = [f"{name} {count}" for name, count in self.boxes.items() if count < boxes]
        lacking = [f"only {len(self.scenes)} of {scenes} scenes"] if len(self.scenes) < scenes else []
        return lacking + ([f"fewer than {boxes} boxes of: {', '.join(few)}"] if few else [])


def render_missing(
    folder: Path, plans: Mapping[str, SplitPlan], jobs: int, on_scene: Callable[[str, int, int], None]
) -> None:
    """Render the missing scenes of the splits, each in its own folder in `folder`, with masks.

    Tables that were not rendered here stay as they are, and so do scenes beyond a plan's. `on_scene(split, done,
    total)` may raise to stop. Raises DataError if a split was rendered with other settings.
    """
    for name, plan in plans.items():
        root = folder / name
        if not (root / SYNTHETIC_VERSION).is_dir() or (root / "settings.json").is_file():
            config = replace(plan, scenes=max(plan.scenes, _listed_scenes(root))).config(root, jobs)
            generate(config, lambda done, total, name=name: on_scene(name, done, total))


def _listed_scenes(root: Path) -> int:
    """How many scenes the tables of a rendered set list; 0 without tables."""
    table = root / SYNTHETIC_VERSION / "scene.json"
    return len(json.loads(table.read_text())) if table.is_file() else 0


def open_splits(folder: Path, names: Iterable[str]) -> dict[str, Split]:
    """The splits in `folder`; raises DataError if one is missing or two share a scene."""
    splits = {name: open_split(DataRoot(root=str(folder / name), version=SYNTHETIC_VERSION)) for name in names}
    scenes = [scene for split in splits.values() for scene in split.scenes]
    shared = sorted({scene for scene in scenes if scenes.count(scene) > 1})
    if shared:
        raise DataError(f"scene {shared[0]} is in two of {', '.join(splits)} in {folder}; render them with other seeds")
    return splits


def open_split(source: DataRoot) -> Split:
    """A data set with its scenes, keyframes and boxes counted."""
    dataset = open_dataset(source)
    labels = [counted(frame.boxes).label for frame in dataset.frames]
    counts = np.bincount(np.concatenate(labels), minlength=len(CLASSES))
    return Split(
        source=source,
        identity=_identity(Path(source.root) / source.version),
        scenes=dataset.scenes,
        keyframes=len(dataset.frames),
        boxes=dict(zip(CLASSES, counts.tolist(), strict=True)),
    )


def _identity(tables: Path) -> str:
    """A digest of which files and annotations the tables list: the same on every machine."""
    digest = hashlib.sha256()
    for name in ("sample_data.json", "sample_annotation.json"):
        digest.update((tables / name).read_bytes())
    return digest.hexdigest()[:12]
