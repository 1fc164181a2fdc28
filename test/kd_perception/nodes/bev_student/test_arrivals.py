"""Cameras that are silent or never join, on known stamps and arrivals: each of the three causes has its sentence."""

import pytest

from kd_perception.nodes.bev_student.arrivals import Arrivals
from kd_perception.runtime.synchroniser import Synchroniser

RIG, TOPICS = ("front", "left", "rear"), ("/front/image", "/left/image", "/rear/image")
MS = 1_000_000
T0 = 1_700_000_000_000 * MS


def drive(*, seconds=6.0, offset_ms=0, late_ms=0.0, rear_until_s=100.0, tolerance_ms=60):
    """Ten images a second of each camera; the rear one's stamps and arrivals are off. Returns the arrivals and now."""
    arrivals = Arrivals(RIG, TOPICS, tolerance_ns=tolerance_ms * MS, now_s=0.0)
    sync = Synchroniser(RIG, tolerance_ms * MS, 0.09)
    events = []
    for shot in range(int(10 * seconds)):
        at_ms = 100 * shot
        events += [(at_ms / 1e3, 0, T0 + at_ms * MS), (at_ms / 1e3 + 0.001, 1, T0 + at_ms * MS)]
        if at_ms / 1e3 < rear_until_s:
            events.append((at_ms / 1e3 + 0.002 + late_ms / 1e3, 2, T0 + (at_ms + offset_ms) * MS))
    for now_s, camera, stamp_ns in sorted(events):
        arrivals.came(camera, now_s)
        arrivals.stamped(camera, stamp_ns, now_s)
        for result in (sync.poll(now_s), sync.add(camera, stamp_ns, "image", now_s)):
            for record in result.frames:
                arrivals.framed(record, now_s)
    return arrivals, seconds


def test_a_healthy_rig_has_no_problem():
    for changes in ({}, {"offset_ms": 40}, {"offset_ms": -50}, {"late_ms": 60.0}):
        arrivals, now_s = drive(**changes)
        assert not arrivals.silences(now_s, {}) and not arrivals.apart(now_s), changes


@pytest.mark.parametrize(
    "offset_ms, text",
    [(3000, "3.000 s after"), (-3000, "3.000 s before"), (-3_600_000, "3600.000 s before"), (10**9, "1000000.000 s")],
)
def test_stamps_of_another_clock_are_told_with_their_distance(offset_ms, text):
    arrivals, now_s = drive(offset_ms=offset_ms)
    (sentence,) = arrivals.apart(now_s)
    assert sentence.startswith("camera 'rear' joins no frame: its stamps are") and text in sentence
    assert "'front'" in sentence and not arrivals.silences(now_s, {})


def test_triggers_that_are_apart_are_told_in_milliseconds():
    arrivals, now_s = drive(offset_ms=30, tolerance_ms=10)
    (sentence,) = arrivals.apart(now_s)
    assert "0.030 s after" in sentence


@pytest.mark.parametrize("late_ms", [180.0, 400.0])
def test_images_that_come_late_are_told_with_their_delay(late_ms):
    arrivals, now_s = drive(late_ms=late_ms)
    (sentence,) = arrivals.apart(now_s)
    assert f"'rear' joins no frame: its images come {late_ms + 2:.0f} ms later" in sentence
    assert "sync_deadline_ms" in sentence


def test_silent_cameras_are_told_with_topic_and_seconds():
    arrivals, now_s = drive(rear_until_s=1.0)
    (sentence,) = arrivals.silences(now_s, {})
    assert "camera 'rear': no more images for 5 s on /rear/image" in sentence and not arrivals.apart(now_s)
    never, now_s = drive(rear_until_s=0.0)
    (sentence,) = never.silences(now_s, {2: "2 publishers on /rear/image/compressed: set transport to compressed"})
    assert "'rear': no images for 6 s on /rear/image; 2 publishers on" in sentence


def test_a_silent_anchor_is_named_as_such_and_a_silent_rig_in_one_sentence():
    arrivals = Arrivals(RIG, TOPICS, tolerance_ns=60 * MS, now_s=10.0)
    assert not arrivals.silences(12.0, {})
    (sentence,) = arrivals.silences(17.0, {})
    assert "no camera sends images: nothing for 7 s on /front/image and 2 more topics" in sentence
    arrivals.came(1, 16.5), arrivals.came(2, 16.5)
    (sentence,) = arrivals.silences(17.0, {})
    assert "'front', the anchor without which there is no frame: no images for 7 s on /front/image" in sentence


def test_time_that_jumps_is_no_offset():
    arrivals, now_s = drive(offset_ms=3000)
    arrivals.restart()
    assert not arrivals.apart(now_s)
