"""What the worker does when the disk refuses: it says so, drops the frame, and tries again."""

import errno
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from support.kept_frames import T0, S, frame_messages
from support.reports import Report

from kd_perception import atomic
from kd_perception.continual.held_messages import HeldMessage
from kd_perception.continual.keeping import Candidate
from kd_perception.continual.recording import read_recording
from kd_perception.continual.verdicts import Dispute, DisputeKind, FrameVerdict
from kd_perception.nodes.hard_sample_recorder import writing
from kd_perception.nodes.hard_sample_recorder.judging import NotComparedError
from kd_perception.options.recorder import RecorderOptions

pytestmark = pytest.mark.ros


class Judge:
    """Finds a missed car at another place each second; 666 is a bug, 0 no frame of the student's."""

    def candidate(self, answer: HeldMessage, settings: RecorderOptions) -> Candidate:
        if answer == 666:
            raise ZeroDivisionError("a bug")
        if answer == 0:
            raise NotComparedError("frames_without_student", "the student is silent")
        car = Dispute(DisputeKind.MISSED, "car", np.array([50.0 * answer, 0.0, 0.0]), 0.9, "a car is missed")
        stamp_ns = T0 + 10 * answer * S
        return Candidate(stamp_ns, FrameVerdict((car,), {"car": 1}, 1), None, lambda: frame_messages(stamp_ns))


@pytest.fixture
def recorder(tmp_path):
    """Offers answers one after the other, in this thread; and what was reported."""
    report = Report()
    node = SimpleNamespace(settings=RecorderOptions(folder=tmp_path / "r", budget_mb=1), get_logger=lambda: report)
    worker = writing.RecordingWorker(node, Judge(), report, 10)
    worker._worker.stop()

    def offer(*answers: int) -> Report:
        for answer in answers:
            worker._attempt(lambda answer=answer: worker._offer(answer))
        return report

    yield offer
    worker._let_go()


def test_frames_are_kept_and_counted(recorder, tmp_path):
    report = recorder(1, 2, 0, 666, 3)
    assert report.counts["frames_kept"] == 3 == report.counts["boxes_missed"] == report.counts["frames_compared"]
    assert report.counts["frames_without_student"] == report.counts["faults"] == 1
    assert report.details["recorded_frames"] == "3"
    assert len(read_recording(tmp_path / "r").frames) == 3


def test_answers_that_wait_are_overtaken(tmp_path):
    started, release, done, report = threading.Event(), threading.Event(), threading.Event(), Report()

    def candidate(answer: int, settings: RecorderOptions) -> Candidate:
        started.set()
        assert release.wait(10.0)
        if answer == 4:
            done.set()
        return Judge().candidate(answer, settings)

    node = SimpleNamespace(settings=RecorderOptions(folder=tmp_path / "r"), get_logger=lambda: report)
    worker = writing.RecordingWorker(node, SimpleNamespace(candidate=candidate), report, 10)
    worker.submit(1)
    assert started.wait(10.0)
    for answer in (2, 3, 4):
        worker.submit(answer)
    release.set()
    assert done.wait(10.0)
    worker.close()
    assert report.counts["answers_overtaken"] == 2 and report.counts["frames_compared"] == 2


def test_a_refusing_disk_is_reported_and_tried_again(recorder, tmp_path, monkeypatch):
    recorder(1)
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        patch.setattr(atomic.os, "replace", refuse)
        report = recorder(2, 3)
    assert report.counts["recording_failed"] == 1 and report.counts["frames_not_kept"] == 1
    (sentence,) = (text for text in report.sentences if "Read-only" in text)
    assert str(tmp_path / "r") in sentence and sentence.endswith("tried again, nothing is kept until then")
    later_s = writing.time.monotonic() + writing.RETRY_S
    monkeypatch.setattr(writing.time, "monotonic", lambda: later_s)
    recorder(4)
    assert [frame.stamp_ns for frame in read_recording(tmp_path / "r").frames] == [T0 + 10 * S, T0 + 40 * S]


def test_a_disk_that_refuses_frames_is_not_read_again(recorder, tmp_path, monkeypatch):
    """To open thousands of frames takes seconds; only another folder in the old one's place is opened."""
    opened, folder = [], writing.RecordingFolder
    monkeypatch.setattr(writing, "RecordingFolder", lambda *args: opened.append(args) or folder(*args))
    recorder(1)
    now_s = writing.time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
        for tries, seconds in enumerate((0.0, 6.0, 10.0, 17.0), start=1):  # the wait doubles: 5 s, 10 s, 20 s
            patch.setattr(writing.time, "monotonic", lambda at_s=now_s + seconds: at_s)
            report = recorder(2)
            assert report.counts["recording_failed"] == (1, 2, 2, 3)[tries - 1]
    monkeypatch.setattr(writing.time, "monotonic", lambda: now_s + 100.0)
    recorder(2)
    assert len(opened) == 1 and len(read_recording(tmp_path / "r").frames) == 2
    (tmp_path / "r").rename(tmp_path / "gone")
    recorder(3)
    assert len(opened) == 2 and len(read_recording(tmp_path / "r").frames) == 1


def test_a_foreign_folder_stops_nothing_and_stays_as_it_is(tmp_path, recorder):
    recorder(1)
    (tmp_path / "r" / "kept.jsonl").rename(tmp_path / "r" / "notes.txt")
    other = Report()
    node = SimpleNamespace(settings=RecorderOptions(folder=tmp_path / "r"), get_logger=lambda: other)
    worker = writing.RecordingWorker(node, Judge(), other, 10)
    worker.close()
    worker._attempt(lambda: worker._offer(2))
    assert other.counts["recording_failed"] == 1 and "belongs to something else" in other.sentences[0]
    assert other.counts["frames_not_kept"] == 1 and (tmp_path / "r" / "notes.txt").exists()
