"""Which clouds a frame of the teacher takes, which are refused, and when a frame may begin."""

import pytest

from kd_perception.nodes.lidar_teacher.kept_clouds import KeptCloud, KeptClouds, Pace
from kd_perception.teacher.spec import PointsSpec

S = 1_000_000_000
T0 = 1000 * S
SPEC = PointsSpec(sweeps=3, z_range=(-3.0, 5.0), per_pillar=0, most=0, oldest_s=1.5)


@pytest.fixture
def clouds() -> KeptClouds:
    return KeptClouds(["top", "side"], SPEC)


def cloud(at_s: float, lidar: int = 0) -> KeptCloud:
    return KeptCloud(lidar, T0 + round(at_s * S) if at_s > -T0 else 0, "lidar", b"", 0.0)


def ages(clouds: KeptClouds, anchor: KeptCloud) -> list[list[float]]:
    return [[round((anchor.stamp_ns - c.stamp_ns) / S, 3) for c in own] for own in clouds.window(anchor)]


def test_the_window_is_of_so_many_sweeps_and_no_older_than_training_has_them(clouds):
    for tenth in range(30):
        clouds.add(cloud(tenth / 10))
    for at_s in (1.0, 2.2, 2.93, 2.99):
        clouds.add(cloud(at_s, lidar=1))
    assert ages(clouds, cloud(2.9)) == [[0.0, 0.1, 0.2], [-0.03, 0.7]]
    sparse = KeptClouds(["top"], SPEC)
    for at_s in (0.0, 1.0, 2.0, 3.0):
        sparse.add(cloud(at_s))
    assert ages(sparse, cloud(3.0)) == [[0.0, 1.0]]


def test_late_and_unstamped_clouds_are_refused_and_time_that_goes_back_forgets(clouds):
    assert clouds.add(cloud(5.0)) == ("", "")
    assert clouds.add(cloud(5.0)) == ("clouds on top come late: a stamp is 0.000 s before the newest", "")
    assert "0.400 s before" in clouds.add(cloud(4.6))[0]
    assert "no stamp (0 s)" in clouds.add(KeptCloud(0, 0, "lidar", b"", 0.0))[0]
    clouds.add(cloud(5.0, lidar=1))
    assert clouds.add(cloud(0.5)) == ("", "time jumped back by 4.500 s in clouds on top")
    assert ages(clouds, cloud(0.5)) == [[0.0], []]
    clouds.forget()
    assert ages(clouds, cloud(0.5)) == [[], []]


@pytest.mark.parametrize(("rate_hz", "begun"), [(0.0, 40), (1.0, 4), (4.0, 16), (100.0, 40)])
def test_frames_begin_at_most_at_their_rate_and_nearly_at_it(rate_hz, begun):
    """Clouds come ten times a second, for four seconds, not quite regularly."""
    pace = Pace(rate_hz)
    times = [100.0 + tenth / 10 + (0.004 if tenth % 3 else 0.0) for tenth in range(40)]
    starts = [now_s for now_s in times if pace.due(now_s)]
    assert len(starts) == begun
