"""Agreements of a recording's cameras with their pictures, as calibrated and as they would be otherwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import invert
from kd_perception.rig_check.agreement import pushed_agreements, standard_score
from kd_perception.rig_check.moments import CameraView, Moment
from kd_perception.rig_check.recording import Recording

FITS = 5.0  # a score from which on a picture fits
NEAR_S = 0.6  # between a cloud and a picture that are compared; cameras for a student have 2 Hz or more
MOST_JUMPS = 0.25  # mean strength of a cloud's jumps; a street has 0.06 to 0.1


@dataclass(frozen=True)
class Change:
    """What is tried. cloud: (4, 4) applied to the points in the sensor's own frame; edges: applied to edge maps."""

    cloud: np.ndarray | None = None
    edges: Callable[[np.ndarray], np.ndarray] | None = None


AS_IT_IS = Change()


class Doubt(StrEnum):
    """Why nothing can be said of a camera, as part of a sentence."""

    no_points = "hardly any point of the cloud falls into it, or hardly any edge of an object"
    uniform = "its pictures show hardly any edge (covered, dark or uniform)"
    no_pictures = "no picture could be read near a cloud"


class Evidence:
    """Scores of cameras and pictures over the moments of a recording.

    `given`: camera -> score as calibrated, NaN where `doubts` says why there is none.
    """

    def __init__(
        self, recording: Recording, base_frame: str, cameras: Mapping[str, Camera], moments: Sequence[Moment]
    ) -> None:
        self.recording = recording
        self.cameras = {name: cameras[name] for name in cameras if any(name in moment.views for moment in moments)}
        self.moments = [moment for moment in moments if len(moment.points)]
        self.jumps = [moment.jumps for moment in self.moments]
        self._edges = [
            {name: view.edges for name, view in moment.views.items() if name in self.cameras and _near(view, moment)}
            for moment in self.moments
        ]
        self._spectra = [
            {name: np.fft.rfft(edges, axis=1) for name, edges in maps.items() if edges is not None}
            for maps in self._edges
        ]
        self._motions = [
            {
                name: recording.ego_motion(base_frame, view.stamp_ns, moment.stamp_ns)
                for name, view in moment.views.items()
            }
            for moment in self.moments
        ]
        self.given = {name: self.score(camera, name) for name, camera in self.cameras.items()}
        self.doubts = {name: self._doubt(name) for name, score in self.given.items() if np.isnan(score)}

    @property
    def any_cloud(self) -> bool:
        """Whether there is anything to compare pictures with."""
        return bool(self.moments)

    @property
    def scattered(self) -> bool:
        """Whether range jumps from one point to the next nearly everywhere: no scan line can be followed."""
        shares = [jumps.strengths.mean() for jumps in self.jumps if len(jumps.strengths)]
        return bool(shares) and float(np.mean(shares)) > MOST_JUMPS

    def pictures(self, name: str) -> int:
        """How many pictures of a camera can be compared with a cloud."""
        return sum(name in spectra for spectra in self._spectra)

    def score(self, camera: Camera, picture: str, change: Change = AS_IT_IS) -> float:
        """Score of `camera` with the pictures called `picture`; NaN if nothing can be said."""
        total = self.agreements(camera, picture, change)
        return standard_score(total) if total.size else float("nan")

    def agreements(self, camera: Camera, picture: str, change: Change = AS_IT_IS) -> np.ndarray:
        """The sums behind `score`, for pictures pushed sideways by 0 to 351 pixels; (0,) if nothing can be said."""
        total = np.zeros(0)
        for moment, jumps, edges, spectra, motions in zip(
            self.moments, self.jumps, self._edges, self._spectra, self._motions, strict=True
        ):
            if picture not in spectra:
                continue
            moved = motions[picture]
            if change.cloud is not None:
                moved = moved @ moment.base_from_cloud @ change.cloud @ invert(moment.base_from_cloud)
            seen = jumps.seen_by(camera, moved, len(edges[picture]))
            if seen is not None:
                spectrum = spectra[picture]
                if change.edges is not None:
                    spectrum = np.fft.rfft(change.edges(edges[picture]), axis=1)
                agreements = pushed_agreements(seen, spectrum)
                total = agreements if not total.size else total + agreements
        return total

    def _doubt(self, name: str) -> Doubt:
        if not any(name in edges for edges in self._edges):
            return Doubt.no_pictures
        return Doubt.no_points if self.pictures(name) else Doubt.uniform


def _near(view: CameraView, moment: Moment) -> bool:
    return abs(view.stamp_ns - moment.stamp_ns) <= NEAR_S * 1e9
