"""The governor against made loads: it keeps the deadline where a level can, does no less than it must, and rests."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_perception.runtime.governor import CALM_S, LONGEST_CALM_S, ROOM, Governor, WorkLevel, work_levels

DEADLINE_MS = 100.0
LEVELS = work_levels(3, 3)
HZ = 10.0


def drive(governor, latency_ms, seconds, start_s=0.0):
    """Camera frames at HZ; `latency_ms` of level and time. The levels by frame, and the sentences by time."""
    levels, told = [], {}
    for frame in range(int(seconds * HZ)):
        level = governor.level
        levels.append(level)
        if frame % level.every:
            continue
        late = latency_ms(level, start_s + frame / HZ)
        now_s = start_s + frame / HZ + late / 1e3
        if why := governor.answered(late, now_s):
            told[now_s] = why
    return levels, told


def test_the_ladder_gives_up_frames_before_the_student():
    steps = [(level.every, level.student) for level in LEVELS]
    assert steps == [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2)]
    assert work_levels(1, 1) == (WorkLevel(1, 0),)


def test_it_steps_down_when_frames_are_late_and_up_again_when_there_is_room():
    governor = Governor(LEVELS, DEADLINE_MS)

    def busy_until_20_s(level, time_s):
        """Then only the second student is in time, as long as others want the processor."""
        return 60.0 if time_s > 20.0 or level.student == 1 else 180.0 - 20.0 * level.every

    levels, told = drive(governor, busy_until_20_s, 80.0)
    seen = list(dict.fromkeys(levels))
    assert seen == list(LEVELS[:4]) and levels[-1] == LEVELS[0]
    words = list(told.values())
    assert words[0] == "3 of 3 frames missed the deadline of 100 ms"
    assert words[-1].startswith("frames took 60 ms at most, with a deadline of 100 ms, for 5")
    assert list(told)[2] < 3.0, "three steps down in a few frames each"


def test_single_late_frames_and_frames_of_the_level_before_decide_nothing():
    governor = Governor(LEVELS, DEADLINE_MS)
    assert not drive(governor, lambda level, time_s: 500.0 if int(time_s * HZ) % 4 == 0 else 50.0, 60.0)[1]
    governor = Governor(LEVELS, DEADLINE_MS)
    assert governor.answered(150.0, 10.0) == governor.answered(150.0, 10.1) == ""
    assert governor.answered(150.0, 10.2) and governor.level == LEVELS[1]
    for _ in range(9):
        assert not governor.answered(150.0, 10.3), "they came before the step"
    assert governor.level == LEVELS[1]


def test_it_comes_to_rest_between_two_levels():
    """Every frame is too much, every second one is easy: it tries again ever more rarely."""
    governor = Governor(LEVELS, DEADLINE_MS)
    _, told = drive(governor, lambda level, time_s: 150.0 if level.every == 1 else 50.0, 600.0)
    ups = [time for time in told if "at most" in told[time]]
    gaps = [round(later - earlier) for earlier, later in pairwise(ups)]
    assert gaps[0] < 2.5 * CALM_S and gaps == sorted(gaps) and gaps[-1] >= LONGEST_CALM_S
    assert len(ups) <= 11


@settings(max_examples=60, deadline=None)
@given(
    base=st.floats(20.0, 400.0), per_frame=st.floats(0.0, 0.6), lighter=st.floats(0.3, 1.0),
    fewest=st.integers(1, 4), students=st.integers(1, 3),
)  # fmt: skip
def test_under_any_constant_load_it_rests_on_the_first_level_that_keeps_the_deadline(
    base, per_frame, lighter, fewest, students
):
    """Less work never takes longer; a step goes to the neighbour, and later ones are rare."""
    levels = work_levels(fewest, students)
    governor = Governor(levels, DEADLINE_MS)

    def latency_ms(level, _):
        return base * (1.0 - per_frame * (1.0 - 1.0 / level.every)) * lighter**level.student

    seen, told = drive(governor, latency_ms, 200.0)
    good = next((k for k, level in enumerate(levels) if latency_ms(level, 0.0) <= DEADLINE_MS), len(levels) - 1)
    ranks = [levels.index(level) for level in seen]
    assert all(abs(after - before) <= 1 for before, after in pairwise(ranks))
    assert max(ranks) == good, "never below the first level that is good enough"
    assert ranks[-1] in (good, good - 1) and ranks.count(good) > 0.6 * len(ranks)
    assert len(told) <= good + 2 * 6
    if latency_ms(levels[good], 0.0) > ROOM * DEADLINE_MS:
        assert ranks[-1] == good and len(told) == good, "without room to spare nothing is tried"


@settings(max_examples=60, deadline=None)
@given(loads=st.lists(st.floats(10.0, 1000.0), min_size=1, max_size=8))
def test_whatever_the_load_does_it_stays_on_the_ladder_and_returns_when_it_is_over(loads):
    governor = Governor(LEVELS, DEADLINE_MS)
    for number, load in enumerate(loads):
        levels, _ = drive(governor, lambda level, _, load=load: load, 20.0, 20.0 * number)
        assert set(levels) <= set(LEVELS)
    most_s = LONGEST_CALM_S * len(LEVELS) + 10.0
    levels, _ = drive(governor, lambda level, _: 20.0, most_s, 20.0 * len(loads))
    assert levels[-1] == LEVELS[0]


@pytest.mark.parametrize("hz", [1.0, 30.0])
def test_slow_and_fast_cameras_are_judged_alike(hz, monkeypatch):
    monkeypatch.setitem(drive.__globals__, "HZ", hz)
    governor = Governor(LEVELS, DEADLINE_MS)
    levels, _ = drive(governor, lambda level, time_s: 150.0 if time_s < 30.0 else 30.0, 90.0)
    assert LEVELS[-1] in levels and levels[-1] == LEVELS[0]


def test_a_pause_is_no_calm_and_misses_before_it_do_not_count():
    governor = Governor(LEVELS, DEADLINE_MS)
    assert not governor.answered(150.0, 0.0) and not governor.answered(50.0, 0.1)
    assert not governor.answered(150.0, 60.0), "one late frame after a minute in which nobody listened"
    drive(governor, lambda level, _: 150.0, 1.0, 60.1)
    reduced = governor.level
    assert reduced != LEVELS[0]
    drive(governor, lambda level, _: 50.0, 2.0, 62.0)
    assert not governor.answered(50.0, 120.0) and governor.level == reduced, "calm for two seconds, then a pause"
    told = drive(governor, lambda level, _: 50.0, 2.0 * CALM_S, 120.1)[1]
    assert governor.level != reduced and next(iter(told)) >= 120.0 + CALM_S


def test_frames_far_apart_are_no_pause():
    """A camera at 1 Hz of which one frame in three is answered, and one at 0.2 Hz."""
    for period_s in (3.0, 5.0):
        governor = Governor(LEVELS, DEADLINE_MS)
        times = [period_s * k for k in range(60)]
        down = [governor.answered(150.0, now_s) for now_s in times[:10]]
        up = [governor.answered(50.0, now_s) for now_s in times[10:]]
        assert any(down) and any(up), period_s
