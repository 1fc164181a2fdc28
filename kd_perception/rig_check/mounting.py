"""Checks of calibration and mounting: what CameraInfo and tf say, before any picture is compared with the world."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid
from kd_perception.rig_check.finding import Finding, Severity
from kd_perception.rig_check.moments import Moment
from kd_perception.rig_check.recording import CameraRecord, Recording

GRID = BevGrid(-51.2, 51.2, -51.2, 51.2, 0.8)  # metres, as the shipped student has it
FOOTPRINT_HEIGHTS = (0.3, 1.0)  # metres above base_link: where objects are
AHEAD = ((5.0, 30.0), (-4.0, 4.0))  # metres: x and y of the area that some camera should see
STEEP = np.radians(60.0)  # a camera of a driving robot rarely looks up or down further
SAME_VIEW = 0.9  # share of two footprints' union in both, from which two cameras see the same
SIDEWAYS = 0.3  # sine of the angle beyond which a camera looks to a side, forward or back


def calibrated_cameras(recording: Recording, base_frame: str, stamp_ns: int) -> tuple[dict[str, Camera], list[Finding]]:
    """The cameras that can be used at a time, by name, and why the others cannot."""
    cameras, findings = {}, []
    for record in recording.cameras:
        try:
            cameras[record.name] = recording.camera(record, base_frame, stamp_ns)
        except CalibrationError as error:
            findings.append(Finding(Severity.error, str(error), (record.name,)))
    return cameras, findings


def check_transforms(recording: Recording, base_frame: str) -> list[Finding]:
    """Is there a tree of frames, does it hold the base frame, and does the robot move in it?"""
    findings = [Finding(Severity.error, sentence) for sentence in recording.tf_problems]
    frames = sorted({*recording.parents, *recording.parents.values()})
    if not frames:
        sentence = "the bag has no transforms: record /tf and /tf_static, or the cameras' places are unknown"
        return [*findings, Finding(Severity.error, sentence)]
    if base_frame not in frames:
        listed = ", ".join(frames[:12]) + (", ..." if len(frames) > 12 else "")
        sentence = f"tf has no frame '{base_frame}'; name the robot's frame with --base-frame (tf has: {listed})"
        return [*findings, Finding(Severity.error, sentence)]
    if not recording.fixed_frame(base_frame):
        sentence = (
            f"tf has no frame above '{base_frame}' (odom or map): the robot's motion between exposures is unknown, and "
            "so it will be to a student with temporal memory; publish odom -> " + base_frame
        )
        findings.append(Finding(Severity.warning, sentence))
    return findings


def check_infos(recording: Recording, cameras: Mapping[str, Camera], moments: Sequence[Moment]) -> list[Finding]:
    """CameraInfo against the pictures: size, frame, rectification, change."""
    findings = []
    for record in recording.cameras:
        name, about = record.name, (record.name,)
        sizes = list(dict.fromkeys(moment.views[name].size for moment in moments if name in moment.views))
        if len(sizes) > 1:
            listed = ", ".join(f"{width}x{height}" for width, height in sizes)
            sentence = (
                f"camera '{name}': its images change their size within the bag ({listed}); CameraInfo can only fit "
                "one of them: record with one setting of the driver"
            )
            findings.append(Finding(Severity.error, sentence, about))
        elif sizes and record.infos and sizes[0] != (stated := _published_size(record, cameras.get(name))):
            findings.append(Finding(Severity.error, _size_sentence(name, sizes[0], stated), about))
        if not record.infos:
            continue
        info = record.infos[0][1]
        if record.image_frame and info.header.frame_id.lstrip("/") not in ("", record.image_frame.lstrip("/")):
            sentence = (
                f"camera '{name}': its images are in frame '{record.image_frame}', its CameraInfo in "
                f"'{info.header.frame_id}'; the images' frame is used, correct the other"
            )
            findings.append(Finding(Severity.warning, sentence, about))
        if record.topics.rectified and any(info.d):
            sentence = (
                f"camera '{name}': {record.topics.image} is rectified by its name, so its CameraInfo's p is used "
                "without d; if the images are raw, say --rectified false, and set it in the detector, too"
            )
            findings.append(Finding(Severity.note, sentence, about))
        if len(record.infos) > 1:
            sentence = f"camera '{name}': its CameraInfo changes {len(record.infos) - 1} times in the bag"
            findings.append(Finding(Severity.note, sentence, about))
    return findings


def check_pictures(recording: Recording, moments: Sequence[Moment]) -> list[Finding]:
    """Images that could not be read: some of a camera's, or all."""
    findings = []
    for record in recording.cameras:
        reasons = [moment.unread[record.name] for moment in moments if record.name in moment.unread]
        looked_at = len(reasons) + sum(record.name in moment.views for moment in moments)
        if not reasons:
            continue
        count = f"none of {looked_at}" if len(reasons) == looked_at else f"{len(reasons)} of {looked_at}"
        severity = Severity.error if len(reasons) == looked_at else Severity.warning
        sentence = f"camera '{record.name}': {count} images that were looked at cannot be read: {reasons[0]}"
        findings.append(Finding(severity, sentence, (record.name,)))
    return findings


def check_directions(cameras: Mapping[str, Camera]) -> list[Finding]:
    """Optical frames, names that contradict the mounting, cameras upside down."""
    findings = []
    heights = {name: camera.ego_from_camera[2, 2] for name, camera in cameras.items()}  # sine of the axis's pitch
    for where, severity, sign in (("up", Severity.error, 1.0), ("down", Severity.warning, -1.0)):
        if steep := tuple(name for name, height in heights.items() if sign * height > np.sin(STEEP)):
            sentence = (
                f"{_listed(steep)} steeply {where} by tf: is the frame the optical one (z forward, x right, y down, "
                "REP-103) and not a body frame (x forward)? Set CameraInfo's frame_id to the optical frame"
            )
            findings.append(Finding(severity, sentence, steep))
    level = {name: camera for name, camera in cameras.items() if abs(heights[name]) <= np.sin(STEEP)}
    if wrong := {name: side for name, camera in level.items() if (side := _contradicted_side(name, camera))}:
        listed = ", ".join(f"'{name}' looks {side}" for name, side in wrong.items())
        sentence = (
            f"cameras look elsewhere by tf than their names say ({listed}): is the tf another camera's, are topics "
            "swapped, or does base_link not follow REP-103 (x forward, y left)?"
        )
        findings.append(Finding(Severity.error, sentence, tuple(wrong)))
    for name, camera in level.items():
        if camera.ego_from_camera[2, 1] > SIDEWAYS:
            sentence = f"camera '{name}' is mounted upside down by its tf; its pictures are turned before they are used"
            findings.append(Finding(Severity.note, sentence, (name,)))
    return findings


def check_coverage(cameras: Mapping[str, Camera], footprints: Mapping[str, np.ndarray]) -> list[Finding]:
    """Cameras that see the same, and whether anything ahead is seen; footprints: (rows, columns) bool by name."""
    findings = []
    for first, second in combinations(cameras, 2):
        a, b = footprints[first], footprints[second]
        shared = (a & b).sum() / max(1, (a | b).sum())
        if np.allclose(cameras[first].ego_from_camera, cameras[second].ego_from_camera, atol=1e-6):
            sentence = f"cameras '{first}' and '{second}' have the same mounting in tf; give each camera its own frame"
            findings.append(Finding(Severity.error, sentence, (first, second)))
        elif shared > SAME_VIEW:
            sentence = (
                f"cameras '{first}' and '{second}' see the same {100 * shared:.0f} % of their ground: a stereo pair "
                "adds no view; if they are not one, check their tf"
            )
            findings.append(Finding(Severity.warning, sentence, (first, second)))
    (x_low, x_high), (y_low, y_high) = AHEAD
    x, y = np.moveaxis(GRID.centers(), -1, 0)
    ahead = (x > x_low) & (x < x_high) & (y > y_low) & (y < y_high)
    seen = np.any([footprint[ahead] for footprint in footprints.values()], axis=0) if footprints else np.zeros(1)
    if seen.mean() < 0.5:
        sentence = (
            f"no camera sees what is ahead of the robot ({100 * seen.mean():.0f} % of the ground from {x_low:g} to "
            f"{x_high:g} m along base_link's x is in view); check that x points forward and which cameras are recorded"
        )
        findings.append(Finding(Severity.warning, sentence))
    return findings


def footprint(camera: Camera) -> np.ndarray:
    """Cells of GRID (rows, columns) that a camera sees at one of FOOTPRINT_HEIGHTS."""
    xy = GRID.centers().reshape(-1, 2)
    seen = [camera.project(np.column_stack([xy, np.full(len(xy), z)]))[2] for z in FOOTPRINT_HEIGHTS]
    return np.any(seen, axis=0).reshape(GRID.shape)


def _published_size(record: CameraRecord, camera: Camera | None) -> tuple[int, int]:
    """Width and height that CameraInfo promises: of its region of interest, binned, or as stated if it is unusable."""
    info = record.infos[0][1]
    return (info.width, info.height) if camera is None else (camera.width, camera.height)


def _size_sentence(name: str, size: tuple[int, int], stated: tuple[int, int]) -> str:
    width, height = size
    sentence = f"camera '{name}': its images are {width}x{height} but its CameraInfo is for {stated[0]}x{stated[1]}"
    if stated == (height, width):
        return sentence + "; width and height are exchanged in CameraInfo"
    if min(stated) > 0 and abs(width / stated[0] - height / stated[1]) < 0.01:
        factor = round(width / stated[0], 4)
        return f"{sentence}; resize k with the images (multiply it by {factor:g}) and set width and height"
    return sentence + "; publish the CameraInfo of this image size"


def _contradicted_side(name: str, camera: Camera) -> str:
    """Where a camera looks ('left', 'right', 'forward', 'back') if its name says the opposite, else ''."""
    x, y = camera.ego_from_camera[:2, 2]
    words = name.lower()
    named = (
        ("left", y, "right"),
        ("right", -y, "left"),
        ("front", x, "back"),
        ("back", -x, "forward"),
        ("rear", -x, "forward"),
    )
    return next((opposite for word, amount, opposite in named if word in words and amount < -SIDEWAYS), "")


def _listed(names: Sequence[str]) -> str:
    """'camera 'a' looks' or 'cameras 'a', 'b' look'."""
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"camera {quoted} looks" if len(names) == 1 else f"cameras {quoted} look"
