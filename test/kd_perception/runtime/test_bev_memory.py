"""Temporal memory: the standing world keeps its cell, the right entry is chosen, what breaks continuity empties it."""

import numpy as np
import pytest

from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw
from kd_perception.runtime.bev_memory import MEMORY_EMPTY, MEMORY_USED, STARTED, BevMemory, warp_table
from kd_perception.student.spec import MEMORY_INPUT, MEMORY_INPUTS, MemorySpec

GRID = BevGrid(-16.0, 16.0, -12.0, 12.0, 0.5)
SPEC = MemorySpec(channels=2, interval_s=0.5, shortest_s=0.1, longest_s=1.0)
SECOND = 1_000_000_000


def ego(x: float, y: float, yaw: float) -> np.ndarray:
    return make_transform(quaternion_from_yaw(yaw), np.array([x, y, 0.0]))


def sample(memory: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """GridSample of (C, rows, columns) at warp (rows, columns, 2): bilinear, zeros outside, corners not aligned."""
    channels, rows, columns = memory.shape
    x, y = (warp[..., 0] + 1.0) * columns / 2.0 - 0.5, (warp[..., 1] + 1.0) * rows / 2.0 - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    out = np.zeros((channels, *warp.shape[:2]))
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = left + dx, top + dy
            weight = (1.0 - np.abs(x - column)) * (1.0 - np.abs(y - row))
            inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
            out += np.where(inside, weight, 0.0) * memory[:, row.clip(0, rows - 1), column.clip(0, columns - 1)]
    return out


def blob(xy: np.ndarray) -> np.ndarray:
    """A feature map (1, rows, columns) of a Gaussian, 1 m wide, at metres xy."""
    return np.exp(-((GRID.centers() - xy) ** 2).sum(axis=-1) / 2.0)[None]


def centroid(feature: np.ndarray) -> np.ndarray:
    return (GRID.centers() * feature[0, ..., None]).sum(axis=(0, 1)) / feature.sum()


@pytest.mark.parametrize("motion", [(0, 0, 0), (3.0, 0, 0), (2.0, -0.4, 0.3), (-1.3, 0.7, -0.6), (0, 0, 1.2)])
def test_a_standing_object_stays_on_its_cell_while_the_ego_drives_and_turns(motion):
    before, after = ego(40.0, -7.0, 2.1), ego(40.0, -7.0, 2.1) @ ego(*motion)
    object_in_odom = apply(before, np.array([[4.2, 2.7, 0.0]]))
    then, now = (apply(invert(pose), object_in_odom)[0, :2] for pose in (before, after))
    warped = sample(blob(then), warp_table(GRID, invert(before) @ after))
    np.testing.assert_allclose(centroid(warped), now, atol=0.01)
    assert np.unravel_index(warped[0].argmax(), GRID.shape) == np.unravel_index(blob(now)[0].argmax(), GRID.shape)


def test_identity_motion_changes_nothing():
    memory = np.random.default_rng(0).random((2, *GRID.shape))
    np.testing.assert_allclose(sample(memory, warp_table(GRID, np.eye(4))), memory, atol=2e-5)  # float32 coordinates


def test_there_and_back_is_the_identity_and_the_table_is_linear_in_the_motion():
    motion = ego(1.5, -0.5, 0.2)
    there, back = warp_table(GRID, motion), warp_table(GRID, invert(motion))
    rows, columns = GRID.shape
    cells = (there.astype(np.float64) + 1.0) / 2.0 * [columns, rows]
    metres = GRID.to_metres(cells)
    returned = apply(invert(motion), np.concatenate([metres, np.zeros((*GRID.shape, 1))], axis=-1))[..., :2]
    np.testing.assert_allclose(returned, GRID.centers(), atol=1e-5)
    smooth = GRID.centers().transpose(2, 0, 1)  # a map that holds its own coordinates is warped to the moved ones
    again = sample(sample(smooth, back), there)
    inner = (slice(None), slice(14, -14), slice(14, -14))
    np.testing.assert_allclose(again[inner], smooth[inner], atol=1e-4)
    step = 1e-3  # finite difference: moving the ego ahead by a step moves every sampled place by it
    moved = warp_table(GRID, ego(step, 0.0, 0.0) @ motion).astype(np.float64)
    np.testing.assert_allclose((moved - there)[..., 0] / step, 2.0 / (columns * GRID.cell_size), rtol=0.01)
    turned = warp_table(GRID, ego(0.0, 0.0, step) @ motion).astype(np.float64)
    places = GRID.to_metres(cells)
    np.testing.assert_allclose((turned - there)[..., 0] / step, -places[..., 1] * 2.0 / (columns * 0.5), atol=2e-3)


def test_outside_the_earlier_grid_is_zero():
    warped = sample(np.ones((1, *GRID.shape)), warp_table(GRID, ego(6.0, 0.0, 0.0)))
    ahead = GRID.centers()[..., 0] > 16.0 - 5.5
    assert not warped[0][ahead].any() and (warped[0][GRID.centers()[..., 0] < 9.0] > 0.999).all()


def feature(value: float) -> np.ndarray:
    return np.full((2, *GRID.shape), value, np.float32)


def drive(memory: BevMemory, stamps: list[float], speed: float = 5.0) -> list[tuple[str, float, str]]:
    """Frames at `stamps` seconds of an ego that drives ahead; per frame state, remembered stamp and reason."""
    answers = []
    for stamp in stamps:
        pose = ego(speed * stamp, 0.0, 0.0)
        recall = memory.recall(round(stamp * SECOND), pose)
        remembered = float(recall.inputs[MEMORY_INPUT][0, 0, 0])
        answers.append((recall.state, remembered, recall.reset_reason))
        memory.remember(round(stamp * SECOND), pose, feature(stamp))
    return answers


@pytest.mark.parametrize("hz", [2, 5, 10, 12.5, 20, 30])
def test_the_entry_nearest_the_best_interval_is_chosen_and_the_ring_stays_small(hz):
    memory = BevMemory(SPEC, GRID)
    stamps = [index / hz for index in range(int(4 * hz))]
    answers = drive(memory, stamps)
    assert answers[0] == (MEMORY_EMPTY, 0.0, STARTED)
    for stamp, (state, remembered, reason) in zip(stamps[1:], answers[1:], strict=True):
        if stamp >= 0.5:
            assert state == MEMORY_USED and reason == ""
            assert stamp - remembered == pytest.approx(0.5, abs=0.55 * max(1.0 / hz, 0.07))
    assert len(memory) <= 14


def test_the_chosen_entrys_age_and_motion_are_passed():
    memory = BevMemory(SPEC, GRID)
    drive(memory, [0.0, 0.2, 0.4, 0.6])
    recall = memory.recall(round(0.85 * SECOND), ego(4.25, 0.0, 0.0))
    assert recall.inputs["memory_interval"] == pytest.approx(0.45) and recall.inputs["memory_valid"] == 1.0
    np.testing.assert_array_equal(recall.inputs["bev_warp"], warp_table(GRID, ego(2.25, 0.0, 0.0)))
    assert set(recall.inputs) == set(MEMORY_INPUTS)


def test_too_young_a_memory_is_not_used():
    memory = BevMemory(SPEC, GRID)
    answers = drive(memory, [0.0, 0.05])
    assert answers[1][0] == MEMORY_EMPTY and "no remembered frame is 0.10 to 1.00 s old" in answers[1][2]


@pytest.mark.parametrize(
    ("stamp", "pose", "reason"),
    [
        (0.4, ego(2.0, 0.0, 0.0), "time went back by 0.600 s"),
        (1.0, ego(5.0, 0.0, 0.0), "same stamp"),
        (2.5, ego(12.5, 0.0, 0.0), "no frame with a pose for 1.50 s, memory reaches back 1.00 s"),
        (1.5, ego(17.5, 0.0, 0.0), "the pose jumped: 10.0 m"),
        (1.5, ego(7.5, 6.0, 0.0), "the pose jumped: 6.0 m"),
        (1.1, ego(5.5, 0.0, 2.5), "it turned by 143 degrees within 0.100 s"),
    ],
)
def test_what_breaks_continuity_empties_the_memory_and_says_why(stamp, pose, reason):
    memory, fresh = BevMemory(SPEC, GRID), BevMemory(SPEC, GRID)
    drive(memory, [0.0, 0.5, 1.0])
    recall = memory.recall(round(stamp * SECOND), pose)
    assert recall.state == MEMORY_EMPTY and reason in recall.reset_reason
    first = fresh.recall(round(stamp * SECOND), pose)
    for _ in range(3):  # from here on it is as if it had just started, bit for bit
        for name in MEMORY_INPUTS:
            np.testing.assert_array_equal(recall.inputs[name], first.inputs[name])
        assert recall.state == first.state
        for each in (memory, fresh):
            each.remember(round(stamp * SECOND), pose, feature(stamp))
        stamp, pose = stamp + 0.5, pose @ ego(2.0, 0.0, 0.1)
        recall, first = (each.recall(round(stamp * SECOND), pose) for each in (memory, fresh))
    assert recall.state == MEMORY_USED


def test_hard_but_possible_driving_is_no_jump():
    memory = BevMemory(SPEC, GRID)
    poses, speed, pose = [], 20.0, ego(0.0, 0.0, 0.0)
    for _ in range(20):  # full braking from 20 m/s while turning
        poses.append(pose)
        speed = max(0.0, speed - 0.9)
        pose = pose @ ego(0.1 * speed, 0.0, 0.05)
    states = []
    for index, pose in enumerate(poses):
        states.append(memory.recall(index * SECOND // 10, pose).state)
        memory.remember(index * SECOND // 10, pose, feature(index))
    assert states[1:] == [MEMORY_USED] * 19


def test_reset_tells_its_reason_once_and_a_missing_pose_forgets_nothing():
    memory = BevMemory(SPEC, GRID)
    drive(memory, [0.0, 0.5])
    recall = memory.recall(1 * SECOND, None)
    assert recall.state == MEMORY_EMPTY and "no odometry pose" in recall.reset_reason
    memory.remember(1 * SECOND, None, feature(9.0))
    assert memory.recall(round(1.2 * SECOND), ego(6.0, 0.0, 0.0)).state == MEMORY_USED
    memory.reset("a bag loops")
    assert [answer[2] for answer in drive(memory, [1.5, 2.0])] == ["a bag loops", ""]


def test_arrays_are_copied_and_handles_are_held_as_they_are():
    class Handle:
        """What an engine with a device gives."""

        shape = (2, *GRID.shape)

    memory, handle, array = BevMemory(SPEC, GRID), Handle(), feature(1.0)
    memory.recall(0, np.eye(4))
    memory.remember(0, np.eye(4), array)
    array[:] = 7.0  # an engine overwrites its output in the next frame
    assert memory.recall(SECOND // 2, np.eye(4)).inputs[MEMORY_INPUT][0, 0, 0] == 1.0
    memory.remember(SECOND // 2, np.eye(4), handle)
    assert memory.recall(SECOND, np.eye(4)).inputs[MEMORY_INPUT] is handle
