"""What to render: the settings of a data set."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from kd_synthetic.rendering.sensors import RIGS, STEPS_PER_KEYFRAME, SWEEPS_PER_SECOND, build_cameras
from kd_synthetic.streets.cities import CITIES
from kd_synthetic.streets.conditions import LIGHTS, WEATHERS, Conditions

CONTENT_VERSION = 1  # raise it when city A by day changes: data sets of different versions do not mix
VARIANT_VERSION = 1  # the same for everything else; a change of other conditions leaves sets of city A by day valid
MIXED = "mixed"  # drawn for every scene
CAMERA_RATES = (2, 4, 10, 20)  # Hz; they share every keyframe and divide the LiDAR's 20 Hz


@dataclass(frozen=True)
class SynthConfig:
    """What to render: `scenes` scenes of `frames` keyframes (2 Hz) with `sweeps` LiDAR turns between them, cameras
    of width x height.

    Cameras give `camera_hz` pictures a second; `camera_spread_ms` is how far apart the first and the last of a rig
    fire. `masks` and `depth` write teachers' pictures beside the keyframes. Raises ValueError for impossible settings.
    """

    out: Path
    scenes: int
    frames: int = 20
    seed: int = 0
    width: int = 704
    height: int = 256
    sweeps: int = 9
    jobs: int = 2
    rig: str = "nuscenes"
    camera_hz: int = 2
    camera_spread_ms: float = 0.0
    city: str = "A"
    light: str = "day"
    weather: str = "dry"
    masks: bool = False
    depth: bool = False

    def __post_init__(self) -> None:
        if self.scenes < 1 or self.frames < 1 or self.jobs < 1 or self.seed < 0:
            raise ValueError(
                f"scenes, frames and jobs must be at least 1 and the seed at least 0, "
                f"got {self.scenes}, {self.frames}, {self.jobs} and {self.seed}"
            )
        if not 0 <= self.sweeps < STEPS_PER_KEYFRAME:
            raise ValueError(f"sweeps between keyframes must be 0 to {STEPS_PER_KEYFRAME - 1}, got {self.sweeps}")
        if not 0.0 <= self.camera_spread_ms <= 50.0:
            raise ValueError(f"cameras of a rig fire 0 to 50 ms apart, got {self.camera_spread_ms}")
        for name, known in (
            ("rig", RIGS),
            ("camera_hz", CAMERA_RATES),
            ("city", (*CITIES, MIXED)),
            ("light", (*LIGHTS, MIXED)),
            ("weather", (*WEATHERS, MIXED)),
        ):
            if getattr(self, name) not in known:
                options = ", ".join(str(value) for value in known)
                raise ValueError(f"{name} '{getattr(self, name)}' is not known; use one of {options}")
        build_cameras("nuscenes", self.width, self.height, np.random.default_rng(0), np.random.default_rng(0))

    @property
    def content(self) -> dict[str, int | float | str | bool]:
        """The settings that a finished scene's bytes depend on; those that came later only where they are in use."""
        basic = ("frames", "seed", "width", "height", "sweeps")
        extra = self.extra
        versions = {"version": CONTENT_VERSION} | ({"variant_version": VARIANT_VERSION} if extra else {})
        return versions | {name: getattr(self, name) for name in basic} | extra

    @property
    def extra(self) -> dict[str, int | float | str | bool]:
        """The settings beyond the basic ones that differ from the default."""
        later = [field for field in fields(self) if field.name in _LATER]
        return {field.name: getattr(self, field.name) for field in later if getattr(self, field.name) != field.default}

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
        """The file that says scene `index` is finished, and holds its rows."""
        return self.out / "scenes" / f"{self.scene_name(index)}.json"


_CONDITIONS_KEY = 1_000_003  # apart from the keys of a scene's own streams
_LATER = ("rig", "camera_hz", "camera_spread_ms", "city", "light", "weather", "masks", "depth")
