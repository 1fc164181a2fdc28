"""Whether a scene's pictures fit its clouds better with the camera's calibration of another scene.

The fit is that of `kd rig check` (kd_perception.rig_check.agreement): do picture edges lie where the range jumps? It is
in standard deviations of what chance gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.datasets.nuscenes import (
    CameraImage,
    ego_pose,
    load_frame,
    read_lidar,
    scene_names,
    scene_samples,
    sensor_transform,
)
from kd_perception.errors import DataError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply, invert
from kd_perception.images.decoding import decode_image
from kd_perception.rig_check.agreement import Jumps, edge_map, pushed_agreements, standard_score
from kd_perception.rig_check.evidence import FITS
from kd_perception.rig_check.finding import Finding, Severity

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

MOST_SCENES, MOST_KEYFRAMES, MOST_OTHERS = 12, 8, 6
BETTER = 6.0  # standard deviations by which another scene's calibration must fit better
MISFIT = 3.0  # below, a picture fits no better than another one might
SAME_M, SAME_RAD, SAME_FOCAL = 0.01, 0.003, 0.005  # calibrations that differ by less are one

Rig = Mapping[str, Camera]


@dataclass(frozen=True, eq=False)
class _Exposure:
    """A picture's edges as a spectrum, its height in them, and the cloud's jumps from the ego at its own time."""

    spectrum: np.ndarray
    height: int
    jumps: Jumps


def check_calibrations(nusc: "Tables") -> list[Finding]:
    """Cameras whose pictures in a scene fit its clouds badly with a calibration that belongs to another scene."""
    scenes = _evenly(scene_names(nusc), MOST_SCENES)
    rigs = {scene: {image.camera.name: image.camera for image in _first_images(nusc, scene)} for scene in scenes}
    if all(_unlike(rigs[scenes[0]], rig) == 0 for rig in rigs.values()):
        return []
    findings = []
    for scene, rig in rigs.items():
        exposures = _exposures(nusc, scene)
        own = {name: _score(camera, exposures.get(name, [])) for name, camera in rig.items()}
        for name, camera in rig.items():
            fit = _Fit(scene, camera, own[name], [score for other, score in own.items() if other != name])
            finding = _fits_elsewhere(fit, rigs, exposures.get(name, [])) or _is_lent(fit, rigs)
            findings += [finding] if finding else []
    return findings


@dataclass(frozen=True)
class _Fit:
    """A camera in a scene, its fit, and those of the scene's other cameras."""

    scene: str
    camera: Camera
    score: float
    others: Sequence[float]


def _fits_elsewhere(fit: _Fit, rigs: Mapping[str, Rig], exposures: Sequence[_Exposure]) -> Finding | None:
    """A finding if another scene's calibration of the camera fits clearly better."""
    tried: dict[str, Camera] = {}
    for scene, rig in rigs.items():
        camera = rig.get(fit.camera.name)
        if camera is not None and not any(_same(camera, known) for known in (fit.camera, *tried.values())):
            tried[scene] = camera
    scores = {scene: _score(camera, exposures) for scene, camera in list(tried.items())[:MOST_OTHERS]}
    best = max(scores, key=lambda scene: scores[scene], default=None)
    if best is None or not (scores[best] >= FITS and scores[best] - fit.score >= BETTER):
        return None
    return _finding(fit, f"that of '{best}' fits by {scores[best]:.1f}")


def _is_lent(fit: _Fit, rigs: Mapping[str, Rig]) -> Finding | None:
    """A finding if the camera alone has the calibration of another scene, and alone does not fit."""
    usual = float(np.median(fit.others)) if fit.others else -np.inf
    if not (-np.inf < fit.score < MISFIT and usual >= FITS and usual - fit.score >= BETTER):
        return None
    own, name = rigs[fit.scene], fit.camera.name
    lenders = [
        scene
        for scene, rig in rigs.items()
        if scene != fit.scene and name in rig and _same(rig[name], fit.camera) and _unlike(own, rig) >= len(own) - 1 > 0
    ]
    if not lenders:
        return None
    return _finding(
        fit, f"it is that of '{lenders[0]}', and the scene's other cameras, which have their own, fit by {usual:.1f}"
    )


def _finding(fit: _Fit, reason: str) -> Finding:
    return Finding(
        Severity.error,
        f"camera '{fit.camera.name}' in scene '{fit.scene}' has the calibration of another scene: with it pictures fit "
        f"the clouds by {fit.score:.1f} (chance is 0, from {FITS:.0f} they fit); {reason}; correct calibrated_sensor",
        (fit.camera.name,),
    )


def _score(camera: Camera, exposures: Sequence[_Exposure]) -> float:
    """The fit of all exposures together; -inf where nothing can be compared."""
    sums = []
    for exposure in exposures:
        jumps = exposure.jumps.seen_by(camera, np.eye(4), exposure.height)
        if jumps is not None:
            sums.append(pushed_agreements(jumps, exposure.spectrum))
    score = standard_score(np.sum(sums, axis=0)) if sums else np.nan
    return score if np.isfinite(score) else -np.inf


def _exposures(nusc: "Tables", scene: str) -> dict[str, list[_Exposure]]:
    """Of some keyframes of a scene: pictures with the first LiDAR's cloud, by camera."""
    exposures: dict[str, list[_Exposure]] = {}
    for sample in _evenly(scene_samples(nusc, scene), MOST_KEYFRAMES):
        rows = nusc.rig_of(sample).lidar_rows(nusc, sample)
        if not rows or not (Path(nusc.dataroot) / rows[0]["filename"]).is_file():
            continue
        mounting = sensor_transform(nusc, rows[0])
        try:
            points = apply(mounting, read_lidar(nusc, rows[0])[:, :3].astype(np.float64))
        except DataError:
            continue  # another finding names the file
        jumps, pose = Jumps.of(points, mounting), ego_pose(nusc, rows[0])
        for image in load_frame(nusc, sample).images:
            edges = _edges(image)
            if edges is not None:
                there = apply(invert(image.global_from_ego) @ pose, jumps.points)
                spectrum = np.fft.rfft(edges, axis=1)
                exposure = _Exposure(spectrum, len(edges), Jumps(there, jumps.strengths))
                exposures.setdefault(image.camera.name, []).append(exposure)
    return exposures


def _edges(image: CameraImage) -> np.ndarray | None:
    try:
        data = image.read()
        return None if data is None else edge_map(decode_image(data, str(image.path)))
    except DataError:
        return None  # another finding names the file


def _first_images(nusc: "Tables", scene: str) -> tuple[CameraImage, ...]:
    sample = scene_samples(nusc, scene)[0]
    return load_frame(nusc, sample).images if nusc.rig_of(sample).cameras else ()


def _unlike(first: Rig, second: Rig) -> int:
    """How many cameras of the same name have different calibrations."""
    return sum(not _same(first[name], second[name]) for name in first if name in second)


def _same(first: Camera, second: Camera) -> bool:
    """Whether two calibrations differ too little to tell them apart."""
    between = invert(first.ego_from_camera) @ second.ego_from_camera
    turn = np.arccos(np.clip((np.trace(between[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))
    focal = abs(first.intrinsics[0, 0] / second.intrinsics[0, 0] - 1.0)
    return bool(np.linalg.norm(between[:3, 3]) < SAME_M and turn < SAME_RAD and focal < SAME_FOCAL)


def _evenly(entries: Sequence[str], most: int) -> list[str]:
    chosen = np.unique(np.linspace(0, len(entries) - 1, min(most, len(entries))).astype(int))
    return [entries[index] for index in chosen]
