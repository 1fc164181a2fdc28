"""Shared memory of killed nodes is removed, that of living ones stays."""

import fcntl
import os
import time

from kd_perception.shared_memory import YOUNG_S, remove_orphaned_segments


def test_segments_go_with_their_process(tmp_path):
    old_s = time.time() - 2 * YOUNG_S
    for number, age_s in ((1, old_s), (2, old_s), (3, time.time())):
        for name in (f"fastdds_{number:016x}", f"fastdds_{number:016x}_el"):
            (tmp_path / name).write_bytes(b"")
            os.utime(tmp_path / name, (age_s, age_s))
    for other in ("fastdds_port7411_el", "sem.mp-abc", "fastdds_mine_el"):
        (tmp_path / other).write_bytes(b"")
        os.utime(tmp_path / other, (old_s, old_s))
    with open(tmp_path / "fastdds_0000000000000002_el") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert remove_orphaned_segments(tmp_path) == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if "00000" in name} == {
        f"fastdds_{number:016x}{suffix}" for number in (2, 3) for suffix in ("", "_el")
    }
    assert {"fastdds_port7411_el", "sem.mp-abc", "fastdds_mine_el"} <= left
    assert remove_orphaned_segments(tmp_path / "none") == 0
