"""Lens models: between points in front of (or, for a fisheye, around) a camera and ideal image coordinates.

Image coordinates are those before K: metres on the plane z = 1 for a perspective lens, radians for a fisheye. A lens
model is a polynomial that was fitted to what a calibration board showed; where it stops growing it folds the world back
into the image. Every lens here ends at that angle: what lies beyond is not visible.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from kd_perception.errors import CalibrationError

# Names as in sensor_msgs/distortion_models.hpp, and 'none'; how many coefficients each has.
DISTORTION_COEFFICIENTS = {"none": 0, "plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
MIN_DEPTH = 0.1  # metres from the camera; nearer points have no useful pixel
_WIDEST = 1e3  # tangent of the widest angle (89.94 degrees) that a perspective lens is inverted for
_SAMPLES = 512  # of the growing curve, from which Newton's method starts


class Lens(Protocol):
    """What a camera asks of its lens."""

    @property
    def max_angle(self) -> float:
        """Radians from the optical axis up to which points are visible."""

    def angle_within(self, radius: float) -> float:
        """Radians from the optical axis beyond which no visible point's image is within `radius` of the centre."""

    def image(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) in the camera frame -> image coordinates (N, 2), and which of them are visible (N,)."""

    def rays(self, image: np.ndarray) -> np.ndarray:
        """Image coordinates (N, 2) -> unit rays (N, 3) in the camera frame; NaN where no visible point comes from."""


@lru_cache(maxsize=256)  # its field of view takes longer to find than a rig to project, and samples share their lenses
def make_lens(model: str, coefficients: tuple[float, ...]) -> Lens:
    """The lens of a distortion model; raises CalibrationError if it is unknown or has a wrong number of coefficients.

    'none': ideal perspective. 'plumb_bob': k1, k2, p1, p2, k3 (Brown-Conrady). 'rational_polynomial': k1, k2, p1, p2,
    k3, k4, k5, k6. 'equidistant': k1, k2, k3, k4 (Kannala-Brandt fisheye, OpenCV's fisheye module).
    """
    if model not in DISTORTION_COEFFICIENTS:
        raise CalibrationError(
            f"distortion model '{model}' is not supported (known: {', '.join(DISTORTION_COEFFICIENTS)}); rectify the "
            "images or recalibrate with one of these"
        )
    needed = DISTORTION_COEFFICIENTS[model]
    if len(coefficients) != needed or not np.isfinite(coefficients).all():
        raise CalibrationError(f"'{model}' needs {needed} finite coefficients, got {list(coefficients)}")
    if model == "equidistant":
        return EquidistantLens(tuple(coefficients))
    return PerspectiveLens(tuple(coefficients) + (0.0,) * (8 - needed))


@dataclass(frozen=True)
class PerspectiveLens:
    """Brown-Conrady with a rational radial part: k1, k2, p1, p2, k3 over k4, k5, k6; zeros are an ideal lens.

    With r the distance from the axis on the plane z = 1, radial = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 +
    k5 r^4 + k6 r^6), plus the tangential terms of p1 and p2 (OpenCV's and ROS' convention).
    """

    coefficients: tuple[float, ...]

    @property
    def max_angle(self) -> float:
        """Radians from the axis; below a quarter turn."""
        return float(np.arctan(self._max_radius))

    def angle_within(self, radius: float) -> float:
        """See Lens."""
        angles, radii = self._least_radii
        reached = int(np.searchsorted(radii, radius))
        return float(angles[reached]) if reached < len(angles) else self.max_angle

    def image(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Lens."""
        x, y, z = points.T  # column by column: NumPy is slow where rows of two or three are
        in_front = z > MIN_DEPTH
        depth = np.where(in_front, z, 1.0)
        x, y = x / depth, y / depth
        visible = in_front & (x * x + y * y < self._max_radius**2)
        return self._distort(np.array([x, y]).T), visible

    def rays(self, image: np.ndarray) -> np.ndarray:
        """See Lens."""
        rays = np.concatenate([self._undistort(image), np.ones((len(image), 1))], axis=1)
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)

    @cached_property
    def _max_radius(self) -> float:
        """Distance from the axis (at z = 1) up to which the image grows in every direction; infinite if it always does.

        Along a meridian the tangential terms add at worst 3 |p| r^2 to the radial r N(s) / D(s), s = r^2.
        """
        above, below = self._polynomials()
        radius = np.polynomial.Polynomial([0.0, 1.0])
        n, d = above(radius**2), below(radius**2)
        tangential = 6.0 * np.hypot(*self.coefficients[2:4]) * radius
        slope = (n + radius * n.deriv()) * d - radius * n * d.deriv() - tangential * d**2  # times D^2
        return min(_first_positive_root(slope), _first_positive_root(d))

    @cached_property
    def _least_radii(self) -> tuple[np.ndarray, np.ndarray]:
        """Growing angles from the axis, and how near to the centre their images come on any meridian."""
        angles = np.linspace(0.0, np.arctan(min(self._max_radius, _WIDEST)), _SAMPLES)
        radius = np.tan(angles)
        above, below = self._polynomials()
        least = radius * above(radius**2) / below(radius**2) - 3.0 * np.hypot(*self.coefficients[2:4]) * radius**2
        return angles, least

    def _polynomials(self) -> tuple[np.polynomial.Polynomial, np.polynomial.Polynomial]:
        """Numerator N and denominator D of the radial part in s = r^2."""
        k1, k2, _, _, k3, k4, k5, k6 = self.coefficients
        return np.polynomial.Polynomial([1.0, k1, k2, k3]), np.polynomial.Polynomial([1.0, k4, k5, k6])

    def _distort(self, ideal: np.ndarray) -> np.ndarray:
        if not any(self.coefficients):
            return ideal
        k1, k2, p1, p2, k3, k4, k5, k6 = self.coefficients
        x, y = ideal[:, 0], ideal[:, 1]
        s = x * x + y * y
        radial = (1.0 + s * (k1 + s * (k2 + s * k3))) / (1.0 + s * (k4 + s * (k5 + s * k6)))
        u = x * radial + 2.0 * p1 * x * y + p2 * (s + 2.0 * x * x)
        v = y * radial + p1 * (s + 2.0 * y * y) + 2.0 * p2 * x * y
        return np.array([u, v]).T

    def _jacobian(self, ideal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Derivative of `_distort`, a symmetric matrix: d(u)/dx, d(u)/dy = d(v)/dx, d(v)/dy, each (N,)."""
        _, _, p1, p2, *_ = self.coefficients
        above, below = self._polynomials()
        x, y = ideal[:, 0], ideal[:, 1]
        s = x * x + y * y
        radial = above(s) / below(s)
        slope = 2.0 * (above.deriv()(s) - radial * below.deriv()(s)) / below(s)  # twice d(radial)/ds
        return (
            radial + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x,
            slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y,
            radial + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x,
        )

    def _undistort(self, image: np.ndarray) -> np.ndarray:
        """Inverse of `_distort`: the radial part from its sampled curve, then Newton's method with all terms."""
        if not any(self.coefficients):
            return image
        above, below = self._polynomials()
        radius = np.linalg.norm(image, axis=1)
        curve = np.tan(np.linspace(0.0, np.arctan(min(self._max_radius, _WIDEST)), _SAMPLES))
        start = np.interp(radius, curve * above(curve**2) / below(curve**2), curve)
        ideal = image * (start / np.maximum(radius, 1e-12))[:, None]
        for _ in range(20):
            error = self._distort(ideal) - image
            xx, xy, yy = self._jacobian(ideal)
            determinant = xx * yy - xy * xy
            determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
            step = np.stack([yy * error[:, 0] - xy * error[:, 1], xx * error[:, 1] - xy * error[:, 0]], axis=1)
            step = np.clip(step / determinant[:, None], -0.5, 0.5)  # stay near where the curve says
            ideal = ideal - step
            if np.abs(step).max(initial=0.0) < 1e-13:
                break
        good = np.linalg.norm(self._distort(ideal) - image, axis=1) < 1e-9
        good &= np.einsum("ni,ni->n", ideal, ideal) < self._max_radius**2
        return np.where(good[:, None], ideal, np.nan)


@dataclass(frozen=True)
class EquidistantLens:
    """A fisheye that may see beyond 180 degrees: distance from the image centre is a polynomial of the angle.

    With t the angle from the axis, radius = t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8) (Kannala and Brandt, 2006).
    """

    coefficients: tuple[float, ...]

    @cached_property
    def max_angle(self) -> float:
        """Radians from the axis, at most pi."""
        k1, k2, k3, k4 = self.coefficients
        slope = np.polynomial.Polynomial([1.0, 3.0 * k1, 5.0 * k2, 7.0 * k3, 9.0 * k4])
        return float(min(np.sqrt(_first_positive_root(slope)), np.pi))

    def angle_within(self, radius: float) -> float:
        """See Lens."""
        angles = np.linspace(0.0, self.max_angle, _SAMPLES)
        reached = int(np.searchsorted(self._radius(angles), radius))
        return float(angles[reached]) if reached < _SAMPLES else self.max_angle

    def image(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Lens."""
        x, y, z = points.T
        across = np.sqrt(x * x + y * y)
        angle = np.arctan2(across, z)
        # On the axis radius / across is 0 / 0; its limit there is 1 / z and `across` is zero: any number will do.
        scale = self._radius(angle) / np.maximum(across, 1e-12)
        visible = (angle < self.max_angle) & (x * x + y * y + z * z > MIN_DEPTH**2)
        return np.array([x * scale, y * scale]).T, visible

    def rays(self, image: np.ndarray) -> np.ndarray:
        """See Lens."""
        radius = np.linalg.norm(image, axis=1)
        curve = np.linspace(0.0, self.max_angle, _SAMPLES)
        angle = np.interp(radius, self._radius(curve), curve)
        for _ in range(20):
            step = np.clip((self._radius(angle) - radius) / np.maximum(self._slope(angle), 1e-9), -0.1, 0.1)
            angle = angle - step
            if np.abs(step).max(initial=0.0) < 1e-13:
                break
        good = (np.abs(self._radius(angle) - radius) < 1e-9) & (angle < self.max_angle)
        across = np.sin(angle) / np.maximum(radius, 1e-12)
        rays = np.column_stack([image * across[:, None], np.cos(angle)])
        return np.where(good[:, None], rays, np.nan)

    def _radius(self, angle: np.ndarray) -> np.ndarray:
        k1, k2, k3, k4 = self.coefficients
        s = angle * angle
        return angle * (1.0 + s * (k1 + s * (k2 + s * (k3 + s * k4))))

    def _slope(self, angle: np.ndarray) -> np.ndarray:
        k1, k2, k3, k4 = self.coefficients
        s = angle * angle
        return 1.0 + s * (3.0 * k1 + s * (5.0 * k2 + s * (7.0 * k3 + s * 9.0 * k4)))


def _first_positive_root(polynomial: np.polynomial.Polynomial) -> float:
    """Smallest positive real root, or infinity."""
    roots = np.roots(polynomial.coef[::-1])  # drops leading zeros, which Polynomial.roots would divide by
    real = roots[np.abs(roots.imag) < 1e-9].real
    return float(min(real[real > 0], default=np.inf))
