"""What to render: the settings of a data set."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np

from kd_synthetic.rendering.sensors import RIGS, STEPS_PER_KEYFRAME, SWEEPS_PER_SECOND, build_cameras
from kd_synthetic.streets.cities import CITIES
from kd_synthetic.streets.conditions import LIGHTS, WEATHERS, Conditions

CONTENT_VERSION = 1  # raise it when city A by day changes: data sets of different versions do not mix
VARIANT_VERSION = 1  # the same for everything else; a change of other conditions leaves sets of city A by day valid
MIXED = "mixed"  # drawn for every scene
CAMERA_RATES = (2, 4, 10, 20)  # Hz; they share every keyframe and divide the LiDAR's 20 Hz


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise ValueError unless low <= value <= high."""
    if not low <= value <= high:
        wanted = f"{low:g} or more" if high == float("inf") else f"{low:g} to {high:g}"
        raise ValueError(f"{name} cannot be {value}; use {wanted}")


def check_choice(name: str, value: object, known: Sequence[object]) -> None:
    """Raise ValueError unless `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"{name} '{value}' is not known; use one of {', '.join(str(each) for each in known)}")


@dataclass(frozen=True)
class RenderConfig:
    """What invented and re-rendered sets have in common. Cameras give pictures of width x height.

    `jobs` scenes are rendered at the same time. `masks` and `depth` write images for teachers next to the keyframes.
    Raises ValueError for a negative seed or no job.
    """

    out: Path
    _: KW_ONLY
    seed: int = 0
    width: int = 704
    height: int = 256
    jobs: int = 2
    masks: bool = False
    depth: bool = False

    def __post_init__(self) -> None:
        check_range("seed", self.seed, 0)
        check_range("jobs", self.jobs, 1)


@dataclass(frozen=True, kw_only=True)
class SynthConfig(RenderConfig):
    """An invented world: `scenes` scenes of `frames` keyframes (2 Hz) with `sweeps` LiDAR turns between them.

    Cameras give `camera_hz` pictures a second. `camera_spread_ms` is the time between the first and the last camera of
    a rig to fire. Raises ValueError for impossible settings.
    """

    scenes: int = 2
    frames: int = 20
    sweeps: int = 9
    rig: str = "nuscenes"
    camera_hz: int = 2
    camera_spread_ms: float = 0.0
    city: str = "A"
    light: str = "day"
    weather: str = "dry"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("scenes", self.scenes, 1)
        check_range("frames", self.frames, 1)
        check_range("sweeps between two keyframes", self.sweeps, 0, STEPS_PER_KEYFRAME - 1)
        check_range("camera_spread_ms", self.camera_spread_ms, 0, 50)
        check_choice("rig", self.rig, RIGS)
        check_choice("camera_hz", self.camera_hz, CAMERA_RATES)
        check_choice("city", self.city, (*CITIES, MIXED))
        check_choice("light", self.light, (*LIGHTS, MIXED))
        check_choice("weather", self.weather, (*WEATHERS, MIXED))
        build_cameras("nuscenes", self.width, self.height, np.random.default_rng(0), np.random.default_rng(0))

    @property
    def content(self) -> dict[str, int | float | str | bool]:
        """The settings that a finished scene's bytes depend on; later ones only where they differ from the default."""
        later = {name: getattr(self, name) for name in _LATER if getattr(self, name) != getattr(SynthConfig, name)}
        versions = {"version": CONTENT_VERSION} | ({"variant_version": VARIANT_VERSION} if later else {})
        return versions | {name: getattr(self, name) for name in _BASIC} | later

    @property
    def camera_steps(self) -> int:
        """Time steps of 0.05 s from one picture to the next."""
        return SWEEPS_PER_SECOND // self.camera_hz

    def conditions(self, index: int) -> Conditions:
        """City, light and weather of scene `index`; what is mixed is drawn evenly."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index, _CONDITIONS_KEY)))
        drawn = [str(rng.choice(known)) for known in (tuple(CITIES), LIGHTS, WEATHERS)]
        wanted = (self.city, self.light, self.weather)
        return Conditions(*(draw if want == MIXED else want for draw, want in zip(drawn, wanted, strict=True)))

    def scene_name(self, index: int) -> str:
        """Name of scene `index`, unique among seeds, and its conditions."""
        return f"synth-{self.seed}-{index:04d}{self.conditions(index).suffix}"

    def scene_file(self, index: int) -> Path:
        """The file that marks scene `index` as finished and holds its rows."""
        return self.out / "scenes" / f"{self.scene_name(index)}.json"


_CONDITIONS_KEY = 1_000_003  # distinct from the keys of a scene's own streams
_BASIC = ("frames", "seed", "width", "height", "sweeps")
_LATER = ("rig", "camera_hz", "camera_spread_ms", "city", "light", "weather", "masks", "depth")  # as sets name them
