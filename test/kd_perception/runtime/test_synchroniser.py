"""The synchroniser on known sequences of stamps (milliseconds; arrival in seconds)."""

import pytest

from kd_perception.runtime.synchroniser import Synchroniser

RIG = ("front", "left", "right")
MS = 1_000_000


def feed(sync, *entries):
    """Add (camera, stamp in ms, arrival in s) in turn; images are named by camera and stamp. Returns the frames."""
    frames = []
    for camera, stamp, now in entries:
        frames += sync.add(camera, stamp * MS, f"{RIG[camera]}@{stamp}", now).frames
    return frames


def test_frame_is_ready_with_the_last_camera():
    sync = Synchroniser(RIG, deadline_s=10.0)
    assert feed(sync, (0, 1000, 0.0), (1, 1005, 0.01)) == []
    (frame,) = feed(sync, (2, 1010, 0.02))
    assert frame.messages == ("front@1000", "left@1005", "right@1010")
    assert frame.stamp_ns == 1000 * MS and frame.arrival_s == 0.0 and None not in frame.messages
    assert frame.ages_ns == (0, -5 * MS, -10 * MS)


def test_order_of_arrival_does_not_matter():
    sync = Synchroniser(RIG, deadline_s=10.0)
    (frame,) = feed(sync, (2, 1010, 0.0), (1, 995, 0.0), (0, 1000, 0.0))
    assert frame.messages == ("front@1000", "left@995", "right@1010")


def test_a_camera_outside_the_tolerance_is_missing_after_the_deadline():
    sync = Synchroniser(RIG, tolerance_ns=60 * MS, deadline_s=0.1)
    assert feed(sync, (1, 939, 0.0), (2, 1000, 0.0), (0, 1000, 0.0)) == []
    assert sync.poll(0.099).frames == ()
    (frame,) = sync.poll(0.1).frames
    assert frame.messages == ("front@1000", None, "right@1000") and frame.ages_ns[1] is None
    assert sync.poll(9.0).frames == ()


def test_a_camera_that_jumped_over_the_frame_is_not_waited_for():
    sync = Synchroniser(RIG, tolerance_ns=60 * MS, deadline_s=10.0)
    (frame,) = feed(sync, (0, 1000, 0.0), (1, 1100, 0.0), (2, 1000, 0.0))
    assert frame.messages == ("front@1000", None, "right@1000")


def test_the_tolerance_includes_its_bound():
    sync = Synchroniser(RIG, tolerance_ns=60 * MS, deadline_s=10.0)
    (frame,) = feed(sync, (0, 1000, 0.0), (1, 1060, 0.0), (2, 970, 0.0))
    assert None not in frame.messages


def test_the_nearer_image_wins_although_an_older_one_was_there_first():
    """A camera at 12 Hz, 48 ms before and 35 ms after the anchor: nuScenes' CAM_BACK_LEFT."""
    sync = Synchroniser(("front", "left"), tolerance_ns=60 * MS, deadline_s=10.0)
    feed(sync, (1, 786, 0.0), (1, 869, 0.0))  # the camera's period is known from here
    assert feed(sync, (1, 952, 0.0), (0, 1000, 0.0)) == []
    (frame,) = feed(sync, (1, 1035, 0.1))
    assert frame.messages == ("front@1000", "left@1035")


def test_an_older_image_is_final_when_the_next_cannot_be_nearer():
    sync = Synchroniser(("front", "left"), tolerance_ns=60 * MS, deadline_s=10.0)
    (frame,) = feed(sync, (1, 909, 0.0), (1, 992, 0.0), (0, 1000, 0.0))
    assert frame.messages == ("front@1000", "left@992")


def test_a_newer_anchor_ends_the_wait_and_frames_keep_their_order():
    sync = Synchroniser(RIG, deadline_s=10.0)
    (first,) = feed(sync, (0, 1000, 0.0), (1, 1000, 0.0), (0, 1100, 0.1))
    assert first.stamp_ns == 1000 * MS and first.messages[2] is None
    (second,) = feed(sync, (1, 1100, 0.1), (2, 1100, 0.1))
    assert second.stamp_ns == 1100 * MS and None not in second.messages


def test_late_and_repeated_images_are_counted_and_ignored():
    sync = Synchroniser(RIG, deadline_s=10.0)
    feed(sync, (1, 1000, 0.0))
    again, late = sync.add(1, 1000 * MS, "again", 0.0), sync.add(1, 990 * MS, "late", 0.0)
    assert again.late == 1 and "'left': several images" in again.late_reason
    assert late.late == 1 and "'left': an image is 10.0 ms older" in late.late_reason
    assert not again.refused and not late.refused
    (frame,) = feed(sync, (0, 1000, 0.0), (2, 1000, 0.0))
    assert frame.messages[1] == "left@1000"


def test_every_image_of_the_anchor_starts_a_frame_or_is_refused():
    sync = Synchroniser(RIG, deadline_s=10.0)
    feed(sync, (0, 1000, 0.0))
    for stamp in (1000, 980):
        result = sync.add(0, stamp * MS, "late", 0.5)
        assert [(record.stamp_ns, record.arrival_s) for record in result.refused] == [(stamp * MS, 0.5)]
        assert "'front'" in result.late_reason
    (frame,) = feed(sync, (1, 1000, 0.1), (2, 1000, 0.1))  # the one that was there first
    assert frame.messages == ("front@1000", "left@1000", "right@1000")


def test_time_that_goes_back_flushes_with_a_reason_and_restarts():
    sync = Synchroniser(RIG, deadline_s=10.0)
    feed(sync, (1, 5000, 0.0), (2, 4999, 0.0), (0, 5300, 0.0))
    result = sync.add(1, 1000 * MS, "left@1000", 0.1)
    assert (
        [record.stamp_ns for record in result.flushed] == [5300 * MS]
        and "'left'" in result.reset_reason
        and "4.000 s" in result.reset_reason
    )
    (frame,) = feed(sync, (0, 1000, 0.1), (2, 1000, 0.1))
    assert frame.messages == ("front@1000", "left@1000", "right@1000")


def test_images_that_overtook_the_clock_survive_its_jump_and_those_of_the_old_time_do_not():
    sync = Synchroniser(RIG, deadline_s=10.0)
    feed(sync, (1, 1000, 0.0), (0, 1000, 0.0))
    assert sync.flush(after_ns=1200 * MS) == ()
    (frame,) = feed(sync, (2, 1000, 0.1))
    assert None not in frame.messages
    feed(sync, (0, 9000, 0.2), (1, 9000, 0.2))
    assert [record.stamp_ns for record in sync.flush(after_ns=1200 * MS)] == [9000 * MS]
    (frame,) = feed(sync, (0, 1100, 0.3), (1, 1100, 0.3), (2, 1100, 0.3))
    assert frame.messages == ("front@1100", "left@1100", "right@1100")


def test_one_camera_needs_no_wait():
    (frame,) = feed(Synchroniser(("front",)), (0, 1000, 0.0))
    assert None not in frame.messages


def test_memory_is_bounded_without_an_anchor():
    sync = Synchroniser(RIG)
    feed(sync, *((1, 1000 + 10 * i, 0.0) for i in range(1000)))
    assert len(sync._images[1]) < 100


@pytest.mark.parametrize("cameras, tolerance, deadline", [((), 1, 1.0), (RIG, -1, 1.0), (RIG, 1, -1.0)])
def test_nonsense_is_refused(cameras, tolerance, deadline):
    with pytest.raises(ValueError, match="synchroniser"):
        Synchroniser(cameras, tolerance, deadline)
