"""The score of a picture in its place: known by chance for unrelated pictures, far above it for the right one."""

import numpy as np
import pytest

from kd_perception.rig_check.agreement import EDGE_WIDTH, edge_map, pushed_agreements, standard_score
from kd_perception.rig_check.evidence import Evidence
from kd_perception.rig_check.moments import read_moments
from kd_perception.rig_check.mounting import calibrated_cameras
from kd_perception.rig_check.recording import read_recording


@pytest.fixture(scope="module")
def evidence(good_bag):
    recording = read_recording(good_bag)
    moments = read_moments(recording, "base_link", 4)
    cameras, _ = calibrated_cameras(recording, "base_link", moments[0].stamp_ns)
    return Evidence(recording, "base_link", cameras, moments)


def test_pictures_of_other_cameras_score_as_chance_does(evidence):
    """Mean 0 and deviation 1, of the 30 wrong pairs of six cameras; the right pairs stand apart."""
    cameras = evidence.cameras
    wrong = [evidence.score(cameras[a], b) for a in cameras for b in cameras if a != b]
    assert abs(np.mean(wrong)) < 0.5 and 0.6 < np.std(wrong) < 1.5 and max(wrong) < 4.0
    assert min(evidence.given.values()) > 2 * max(wrong)


def test_a_robot_that_stands_still_is_not_more_certain():
    """Five times the same moment score as one does."""
    rng = np.random.default_rng(3)
    jumps, edges = rng.random((2, 40, EDGE_WIDTH))
    once = pushed_agreements(jumps, np.fft.rfft(edges, axis=1))
    assert standard_score(5 * once) == pytest.approx(standard_score(once))


def test_pictures_without_edges_have_no_ranks():
    """Black, uniform, and a smooth gradient from left to right; a texture has edges."""
    black = np.zeros((90, 160, 3), np.uint8)
    assert edge_map(black) is None and edge_map(black + 200) is None
    slope = np.broadcast_to(np.linspace(50, 90, 160).astype(np.uint8)[None, :, None], (90, 160, 3))
    assert edge_map(np.ascontiguousarray(slope)) is None
    texture = np.random.default_rng(0).integers(0, 255, (90, 160, 3)).astype(np.uint8)
    assert edge_map(texture).shape == (198, EDGE_WIDTH)


def test_equal_agreements_say_nothing():
    assert np.isnan(standard_score(np.ones(EDGE_WIDTH)))
