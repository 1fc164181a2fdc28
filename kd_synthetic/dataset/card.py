"""The data card: what a rendered set holds, next to the real nuScenes mini_val tables, as card.md and card.json."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kd_perception.atomic import write_text
from kd_perception.geometry.classes import CLASSES
from kd_synthetic.dataset.annotate import Annotation

# Range in metres within which the nuScenes detection metric counts a class.
CLASS_RANGE = {
    "car": 50,
    "truck": 50,
    "bus": 50,
    "trailer": 50,
    "construction_vehicle": 50,
    "pedestrian": 40,
    "motorcycle": 40,
    "bicycle": 40,
    "traffic_cone": 30,
    "barrier": 30,
}


@dataclass(frozen=True)
class Fact:
    """One annotation, as the card counts it: distance from the ego (m), LiDAR points, visibility level 1-4 (0
    unknown), speed (m/s).
    """

    name: str
    distance: float
    points: int
    visibility: int
    speed: float


@dataclass(frozen=True)
class ClassStatistics:
    """One class within its range: objects a frame, distance percentiles 10/50/90 (m), LiDAR point percentiles
    10/25/50/75/90, share without a point, shares of the visibility levels 1-4 (empty if unknown), share faster than
    0.5 m/s.
    """

    per_frame: float
    distance: tuple[float, ...]
    points: tuple[float, ...]
    no_points: float
    visibility: tuple[float, ...]
    moving: float


# The same statistics of the real nuScenes v1.0-mini mini_val split (81 keyframes of scene-0103 and scene-0916). It
# has no trailer, construction vehicle or barrier, and its copy here lacks visibility.
REAL_MINI_VAL: dict[str, ClassStatistics] = {
    "car": ClassStatistics(27.64, (12.1, 26.0, 41.9), (0.0, 2.0, 9.0, 33.0, 152.0), 0.17, (), 0.06),
    "truck": ClassStatistics(1.17, (10.1, 24.2, 45.1), (13.0, 26.0, 60.0, 288.0, 857.0), 0.0, (), 0.08),
    "bus": ClassStatistics(0.41, (17.4, 19.4, 39.6), (52.0, 152.0, 287.0, 344.0, 470.0), 0.0, (), 0.73),
    "motorcycle": ClassStatistics(2.77, (9.8, 19.5, 33.7), (1.0, 2.0, 6.0, 20.0, 51.0), 0.05, (), 0.0),
    "bicycle": ClassStatistics(0.54, (10.0, 22.3, 31.6), (0.0, 1.0, 5.0, 14.0, 35.0), 0.2, (), 0.25),
    "pedestrian": ClassStatistics(13.74, (9.2, 19.2, 32.6), (1.0, 3.0, 6.0, 14.0, 34.0), 0.04, (), 0.62),
    "traffic_cone": ClassStatistics(0.46, (7.4, 10.7, 19.0), (1.0, 1.0, 2.0, 7.0, 17.0), 0.11, (), 0.0),
}


def fact_of(annotation: Annotation, name: str, ego: np.ndarray) -> Fact:
    """An annotation of class `name` seen by an ego at (2,) in the world."""
    distance = float(np.linalg.norm(np.array(annotation.centre[:2]) - ego))
    return Fact(name, round(distance, 2), annotation.lidar_points, annotation.visibility, round(annotation.speed, 2))


def read_facts(scene_files: Iterable[Path]) -> list[list[Fact]]:
    """The facts of finished scenes, keyframe by keyframe."""
    return [[Fact(*row) for row in frame] for path in scene_files for frame in json.loads(path.read_text())["facts"]]


def class_statistics(frames: Sequence[Sequence[Fact]]) -> dict[str, ClassStatistics]:
    """Statistics of every class that occurs within its range, from the facts of each keyframe."""
    facts, result = [fact for frame in frames for fact in frame], {}
    for name in CLASSES:
        chosen = [fact for fact in facts if fact.name == name and fact.distance < CLASS_RANGE[name]]
        if not chosen:
            continue
        distance, points, level, speed = (
            np.array([getattr(fact, field) for fact in chosen], np.float64)
            for field in ("distance", "points", "visibility", "speed")
        )
        known = level[level > 0]
        result[name] = ClassStatistics(
            round(len(chosen) / len(frames), 2),
            tuple(np.percentile(distance, (10, 50, 90)).round(1).tolist()),
            tuple(np.percentile(points, (10, 25, 50, 75, 90)).round(0).tolist()),
            round(float((points == 0).mean()), 2),
            tuple(round(float((known == i).mean()), 2) for i in (1, 2, 3, 4)) if len(known) else (),
            round(float((speed > 0.5).mean()), 2),
        )
    return result


def _join(values: Sequence[float], digits: int = 0) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values) if values else "-"


def _row(name: str, source: str, stats: ClassStatistics | None) -> str:
    if stats is None:
        return f"| {name} | {source} | 0 | - | - | - | - | - |"
    cells = (
        f"{stats.per_frame:.2f}",
        _join(stats.distance),
        _join(stats.points),
        f"{stats.no_points:.0%}",
        _join(stats.visibility, 2),
        f"{stats.moving:.0%}",
    )
    return f"| {name} | {source} | " + " | ".join(cells) + " |"


_INVENTED = """\
- The class mix is more balanced than nuScenes on purpose: buses, trailers, construction vehicles, cycles, cones and
  barriers are commoner, so that they can be learnt from few scenes. Do not read class frequencies as real ones.
- Coordinates, time stamps, tokens and places are invented. The map picture is blank.
"""
_RERENDERED = """\
- Poses, calibration, time stamps, tokens, and the boxes' places, sizes and headings are those of the tables; boxes are
  put on flat ground, so their z differs. Streets, houses, bodies, clothes, colours and light are invented, and whatever
  the tables do not annotate (occluded, far, or of no class) is not there. Between keyframes boxes move in straight
  lines; each camera sees them at its own time. The map pictures are blank.
"""
_ALWAYS = """\
- {spread}a LiDAR turn is taken at one instant (no rolling shutter).
- The ground is flat, the ego vehicle itself is not in the pictures or clouds, there is no radar, no motion blur.
- An annotation exists where a pixel of any camera or a LiDAR point of the keyframe shows the object, up to 90 m.
  `num_lidar_pts` counts the keyframe's points in the box; visibility is the share of the object's own pixels that
  nothing covers, over all cameras, measured on a regular grid of about 260 rays an object and camera.
"""
_DARK = """\
- After sunset lamps are points without size: their shadows are hard, and light that falls on a surface goes on to no
  other. Each spot is lit by the seven lamps that matter most there. All driven vehicles have their lamps on, parked
  ones none; nobody brakes or indicates visibly. The camera's exposure stays the same through a scene.
"""
_RAIN = """\
- Rain is an overcast sky, a wet road that mirrors, haze, streaks and drops that stay where they are on the lens for a
  scene. There is no spray behind vehicles, no wiper and nobody carries an umbrella. LiDAR echoes fade with the range,
  wet ground sends little back at flat angles, and drops echo within some metres; rates are plausible, not measured.
"""


def _limits(settings: Mapping[str, object]) -> str:
    """What a reader should know about a set rendered with these settings."""
    rerendered = "tables" in settings
    own_time = rerendered or bool(settings.get("camera_spread_ms"))
    shared = "All sensors of a keyframe share one time stamp and one ego pose; "
    parts = [_RERENDERED if rerendered else _INVENTED]
    parts.append(_ALWAYS.format(spread="Every camera has its own time stamp and ego pose; " if own_time else shared))
    if settings.get("light", "day") != "day":
        parts.append(_DARK)
    if settings.get("weather", "dry") != "dry":
        parts.append(_RAIN)
    return "## What to know\n\n" + "".join(parts)


def write_card(
    out: Path,
    frames: Sequence[Sequence[Fact]],
    content: Mapping[str, object],
    *,
    original: Sequence[Sequence[Fact]] | None = None,
) -> None:
    """Write card.json and card.md for the keyframes' facts into `out`, next to those of the `original` tables.

    Without an original, nuScenes' mini_val split stands there. `content` are the settings of the set.
    """
    settings = {name: value for name, value in content.items() if "version" not in name}
    stats = class_statistics(frames)
    reference = REAL_MINI_VAL if original is None else class_statistics(original)
    card: dict[str, object] = {"settings": settings, "frames": len(frames), "classes": _plain(stats)}
    if original is not None:
        card["original"] = _plain(reference)
    write_text(out / "card.json", json.dumps(card, indent=1))
    names = ("synthetic", "real") if original is None else ("re-rendered", "original")
    lines = [
        "# Synthetic driving data in nuScenes format",
        "",
        f"{len(frames)} keyframes; "
        + ", ".join(f"{name} {value}" for name, value in settings.items())
        + ". The same settings give the same bytes.",
        "",
        "Objects within the range in which the nuScenes metric counts their class; percentiles 10/50/90 of the",
        "distance and 10/25/50/75/90 of the LiDAR points.",
        "'real' is nuScenes v1.0-mini, split mini_val."
        if original is None
        else "'original' is what the tables held before re-rendering.",
        "",
        "| class | data | per frame | distance m | LiDAR points | no point | visible 0-40/-60/-80/-100 % | moving |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in CLASSES:
        lines += [_row(name, names[0], stats.get(name)), _row(name, names[1], reference.get(name))]
    write_text(out / "card.md", "\n".join([*lines, "", _limits(settings)]))


def _plain(stats: Mapping[str, ClassStatistics]) -> dict[str, dict]:
    return {name: asdict(value) for name, value in stats.items()}
