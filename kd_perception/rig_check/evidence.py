"""Agreements of a recording's cameras with their pictures, as calibrated and as they would be otherwise."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply
from kd_perception.rig_check.agreement import FEWEST_POINTS, agreement, combine, edge_ranks, project_cloud, range_jumps
from kd_perception.rig_check.recording import Moment, Recording

FITS = 5.0  # an agreement from which on a picture fits; pictures of something else spread by about 2 around 0
BETTER = 5.0  # by which a mistake must explain one camera better than the calibration as it is


class Evidence:
    """Agreements of cameras and pictures over the moments of a recording."""

    def __init__(
        self, recording: Recording, base_frame: str, cameras: Mapping[str, Camera], moments: Sequence[Moment]
    ) -> None:
        self.cameras = {name: cameras[name] for name in cameras if any(name in moment.views for moment in moments)}
        self._moments = [moment for moment in moments if len(moment.points)]
        self.any_cloud = bool(self._moments)
        self._jumps = [range_jumps(moment.points, moment.base_from_cloud) for moment in self._moments]
        self._ranks = [
            {name: edge_ranks(view.image) for name, view in moment.views.items()} for moment in self._moments
        ]
        self._motions = [
            {
                name: recording.ego_motion(base_frame, view.stamp_ns, moment.stamp_ns)
                for name, view in moment.views.items()
            }
            for moment in self._moments
        ]
        self.given = {name: self.score(camera, name) for name, camera in self.cameras.items()}

    def sees_no_cloud(self, name: str) -> bool:
        """Whether hardly any point falls into a camera: it looks where no cloud is."""
        counts = [self.cameras[name].project(moment.points)[2].sum() for moment in self._moments]
        return bool(counts) and max(counts) < FEWEST_POINTS

    def score(
        self,
        camera: Camera,
        picture: str,
        moved: np.ndarray | None = None,
        changed: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> float:
        """Agreement of `camera` with the pictures called `picture`; NaN if nothing can be said.

        moved: (4, 4) applied to the cloud in base_link first; changed: applied to the pictures.
        """
        values = []
        for moment, jumps, ranks, motions in zip(self._moments, self._jumps, self._ranks, self._motions, strict=True):
            if picture not in ranks:
                continue
            motion = motions[picture] if moved is None else motions[picture] @ moved
            projected = project_cloud(camera, apply(motion, moment.points), jumps)
            values.append(agreement(projected, ranks[picture] if changed is None else changed(ranks[picture])))
        return combine(values)
