"""What a lens makes of lamps that shine into it: halos around them, and their streaks on a wet road."""

import cv2
import numpy as np

from kd_perception.geometry.transforms import apply, invert
from kd_synthetic.rendering.lamps import Lamps
from kd_synthetic.rendering.sensors import CameraSensor
from kd_synthetic.rendering.tracer import Tracer

HALOS = ((0.0022, 0.45), (0.009, 0.3), (0.035, 0.25))  # radius as a share of the image width, share of the light
HALO_LIGHT = 0.24  # share of a lamp's light in its halos, per square of the image width
BRIGHTEST = 0.4  # light of one lamp that still makes its halo grow; more dazzles no further
STREAK = (0.0035, 0.045)  # deviation across and along, as shares of the image width


def lamp_glow(
    lamps: Lamps, camera: CameraSensor, local_from_ego: np.ndarray, tracer: Tracer, ground: np.ndarray | None
) -> np.ndarray:
    """Radiance (H, W, 3) that lamps add to a picture; on the pixels `ground` (H, W) of a wet road their reflections,
    if given.
    """
    eye = (local_from_ego @ camera.ego_from_camera)[:3, 3].astype(np.float32)
    flux = np.zeros((camera.height, camera.width, 3), np.float32)
    shown = _seen(lamps, tracer, eye)
    _deposit(flux, camera, local_from_ego, lamps.position[shown], _light(lamps, shown, eye))
    result = np.zeros_like(flux)
    for radius, share in HALOS:
        result += share * _blurred(flux, radius * camera.width, radius * camera.width)
    if ground is not None:
        streaks = np.zeros_like(flux)
        mirrored = lamps.position[shown] * np.array((1, 1, -1), np.float32)
        away = mirrored - eye
        cosine = np.abs(away[:, 2]) / np.linalg.norm(away, axis=1)
        fresnel = 0.03 + 0.97 * (1 - cosine) ** 5
        _deposit(streaks, camera, local_from_ego, mirrored, _light(lamps, shown, eye) * (0.25 * fresnel)[:, None])
        across, along = (value * camera.width for value in STREAK)
        result += _blurred(streaks * ground[..., None], across, along) * ground[..., None]
    return result


def _seen(lamps: Lamps, tracer: Tracer, eye: np.ndarray) -> np.ndarray:
    """Indices of the lamps that nothing hides from the eye (3,)."""
    to_lamp = lamps.position[:-1] - eye
    distance = np.linalg.norm(to_lamp, axis=1)
    unit = np.ascontiguousarray(to_lamp / distance[:, None], np.float32)
    origins = np.ascontiguousarray(np.broadcast_to(eye, unit.shape), np.float32)
    clear = ~tracer.blocked(origins, unit, (distance - 0.35).astype(np.float32))
    return np.flatnonzero(clear & (distance > 1.0))


def _light(lamps: Lamps, index: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """What each lamp sends to the eye (N, 3), before it is spread over pixels."""
    away = eye - lamps.position[index]
    squared = np.einsum("ni,ni->n", away, away)
    share = lamps.towards(index, away / np.sqrt(squared)[:, None]) / squared
    light = share[:, None] * lamps.intensity[index]
    return light * np.minimum(1.0, BRIGHTEST / np.maximum(light.max(1, keepdims=True), 1e-9))


def _deposit(
    flux: np.ndarray, camera: CameraSensor, local_from_ego: np.ndarray, points: np.ndarray, light: np.ndarray
) -> None:
    """Add each point's light to the pixel it falls on, scaled so that halos look the same at any resolution."""
    local_from_camera = local_from_ego @ camera.ego_from_camera
    pixels, visible = camera.camera.project_local(apply(invert(local_from_camera), points.astype(np.float64)))
    scale = HALO_LIGHT * camera.width**2
    for (u, v), amount, shown in zip(pixels, light, visible, strict=True):
        if shown and 0 <= u < camera.width and 0 <= v < camera.height:
            flux[int(v), int(u)] += amount * scale


def _blurred(image: np.ndarray, across: float, along: float) -> np.ndarray:
    """Gaussian blur; wide ones at a quarter of the resolution."""
    if min(across, along) < 6:
        return cv2.GaussianBlur(image, (0, 0), sigmaX=across, sigmaY=along)
    size = (image.shape[1] // 4, image.shape[0] // 4)
    small = cv2.GaussianBlur(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), across / 4, sigmaY=along / 4
    )
    return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
