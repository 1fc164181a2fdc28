"""Domains that a student learns one after another: what each is rendered from, and which classes it labels.

Two sequences are of conditions, whose domains label all classes; one is of classes, under the same conditions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kd_bench.ledger.splits import Split, SplitPlan
from kd_perception.geometry.classes import CLASSES
from kd_training.config.sections import DataRoot

TRAIN_SCENES, HELD_OUT_SCENES = 16, 6
CLASSES_SCENES = 40  # where a student is trained from the start
LEAST_BOXES = 60  # of each class, counted in the held-out scenes of each condition
BUFFER_SHARE = 0.05  # of all keyframes of a sequence
OLD_CLASSES = ("car", "truck", "bus", "motorcycle", "pedestrian")
NEW_CLASSES = tuple(name for name in CLASSES if name not in OLD_CLASSES)


@dataclass(frozen=True)
class RenderedWorld:
    """One condition of the rendered world, with a set to learn from and a held-out one."""

    name: str
    train: SplitPlan
    held_out: SplitPlan

    @property
    def plans(self) -> dict[str, SplitPlan]:
        """Both sets by the names of their folders."""
        return {self.train_name: self.train, self.held_out_name: self.held_out}

    @property
    def train_name(self) -> str:
        """Name of the set to learn from."""
        return f"{self.name}_train"

    @property
    def held_out_name(self) -> str:
        """Name of the held-out set."""
        return f"{self.name}_val"


def _world(name: str, seed: int, scenes: int = TRAIN_SCENES, **conditions: str) -> RenderedWorld:
    return RenderedWorld(
        name, SplitPlan(scenes, seed, **conditions), SplitPlan(HELD_OUT_SCENES, seed + HELD_OUT_SEED, **conditions)
    )


HELD_OUT_SEED = 500  # from a set's seed to that of its held-out one
DAY = _world("city_a_day", 21000)
CITY_B = _world("city_b_day", 22000, city="B")
NIGHT = _world("night", 23000, light="night")
RAIN = _world("rain", 24000, weather="rain")
LONG_DAY = _world("city_a_long_day", 25000, CLASSES_SCENES)
CONDITIONS = (DAY, CITY_B, NIGHT, RAIN)
WORLDS = (*CONDITIONS, LONG_DAY)


@dataclass(frozen=True)
class Domain:
    """What is learnt in one step: a world, the share of its scenes (from, to), and the classes that are labelled."""

    name: str
    world: RenderedWorld
    classes: tuple[str, ...] = CLASSES
    scenes: tuple[float, float] = (0.0, 1.0)

    def source(self, split: Split) -> DataRoot:
        """Its part of the world's training set."""
        if self.scenes == (0.0, 1.0):
            return split.source
        first, end = (round(share * len(split.scenes)) for share in self.scenes)
        return replace(split.source, scenes=list(split.scenes[first:end]))

    def keyframes(self, split: Split) -> int:
        """Of that part, where all scenes are of one length."""
        return round((self.scenes[1] - self.scenes[0]) * split.keyframes)


@dataclass(frozen=True)
class DomainSequence:
    """Domains in the order in which they are learnt."""

    name: str
    title: str
    domains: tuple[Domain, ...]

    @property
    def worlds(self) -> tuple[RenderedWorld, ...]:
        """Each once."""
        return tuple(dict.fromkeys(domain.world for domain in self.domains))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the domains."""
        return tuple(domain.name for domain in self.domains)

    def keyframes(self, splits: Mapping[str, Split]) -> int:
        """Of all domains."""
        return sum(domain.keyframes(splits[domain.world.train_name]) for domain in self.domains)


def _of_worlds(name: str, title: str, worlds: Sequence[RenderedWorld]) -> DomainSequence:
    return DomainSequence(name, title, tuple(Domain(world.name, world) for world in worlds))


CITIES = _of_worlds("cities", "City A by day, city B by day, night, rain", CONDITIONS)
DAY_NIGHT = _of_worlds("night", "Day, then night", (DAY, NIGHT))
FIVE_FIVE = DomainSequence(
    "classes", "Five classes, then five more",
    (
        Domain("five_classes", LONG_DAY, OLD_CLASSES, (0.0, 0.5)),
        Domain("five_more", LONG_DAY, NEW_CLASSES, (0.5, 1.0)),
    ),
)  # fmt: skip
SEQUENCES = (CITIES, DAY_NIGHT, FIVE_FIVE)


def plans_of(worlds: Sequence[RenderedWorld]) -> dict[str, SplitPlan]:
    """The sets of worlds by the names of their folders."""
    return {name: plan for world in worlds for name, plan in world.plans.items()}


def synth_commands(folder: Path, jobs: int) -> list[str]:
    """The commands that render what `kd bench continual` would: quick worlds first, night last."""
    ordered = sorted(WORLDS, key=lambda world: world.train.light == "night")
    return [_command(plan, folder / name, jobs) for name, plan in plans_of(ordered).items()]


def _command(plan: SplitPlan, out: Path, jobs: int) -> str:
    config = plan.config(out, jobs)
    looks = " ".join(
        f"--{name} {value}"
        for name, value in (("city", config.city), ("light", config.light), ("weather", config.weather))
        if value != getattr(type(config), name)
    )
    return (
        f"kd synth --scenes {config.scenes} --frames {config.frames} --seed {config.seed} "
        f"--size {config.width}x{config.height} --sweeps {config.sweeps} --masks --jobs {jobs} "
        f"{looks + ' ' if looks else ''}--out {out}"
    )


def shortages(splits: Mapping[str, Split]) -> list[str]:
    """Sentences on held-out sets that have fewer than LEAST_BOXES boxes of a class that the metric counts."""
    return [
        f"{world.name}: {sentence}"
        for world in WORLDS
        if world.held_out_name in splits
        for sentence in splits[world.held_out_name].shortages(scenes=HELD_OUT_SCENES, boxes=LEAST_BOXES)
    ]
