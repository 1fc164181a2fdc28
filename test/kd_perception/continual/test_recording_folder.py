"""The recording folder is a bag at every moment, within its budget, and nobody else's files are touched."""

import contextlib
import errno
import itertools
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import Reader
from support.kept_frames import T0, S, frame_messages, small_frame
from support.small_disk import small_disk

from kd_perception import atomic
from kd_perception.bags.frame_file import mcap_bytes, part_of, read_part
from kd_perception.bags.metadata import METADATA, read_metadata
from kd_perception.bags.reader import BagReader
from kd_perception.continual.recording import KEPT, read_recording
from kd_perception.continual.recording_folder import RecordingFolder
from kd_perception.errors import DataError

MB = 1 << 20


def fill(folder: Path, count: int, budget: int = MB) -> RecordingFolder:
    recording = RecordingFolder(folder, budget)
    for number in range(count):
        recording.keep(*small_frame(number))
    return recording


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[RecordingFolder]:
    recording = RecordingFolder(folder, MB)
    yield recording
    recording.close()


def check_plays(folder: Path) -> list[int]:
    """Both readers play what is listed, in order; the stamps of the frames that are whole."""
    kept = read_recording(folder)
    if not kept.frames:
        return []
    listed = read_metadata(folder).files
    assert {frame.file for frame in kept.frames} <= set(listed)
    with Reader(folder) as reader:  # the other implementation: it trusts metadata.yaml
        times = [stamp for _, stamp, _ in reader.messages()]
        assert times == sorted(times) and len(times) == 4 * len(listed) == reader.message_count
    ours = BagReader(folder)
    assert len(list(ours.messages())) == 4 * len(listed)
    assert all("left out" in problem for problem in ours.problems), ours.problems
    ours.close()
    return [frame.stamp_ns for frame in kept.frames]


def test_kept_frames_are_a_bag_that_plays_in_order(tmp_path):
    recording = RecordingFolder(tmp_path / "r", MB)
    for number in (3, 1, 2):  # out of order: a teacher may answer so
        recording.keep(*small_frame(number))
    recording.close()
    assert check_plays(tmp_path / "r") == [T0 + n * S for n in (1, 2, 3)]
    content = yaml.safe_load((tmp_path / "r" / METADATA).read_text())["rosbag2_bagfile_information"]
    assert content["version"] == 9 and content["storage_identifier"] == "mcap"
    assert content["message_count"] == 12 == sum(file["message_count"] for file in content["files"])
    assert [file["path"] for file in content["files"]] == content["relative_file_paths"]
    assert content["starting_time"]["nanoseconds_since_epoch"] == T0 + S - 1
    assert content["duration"]["nanoseconds"] == 2 * S + 3
    static = next(t for t in content["topics_with_message_count"] if t["topic_metadata"]["name"] == "/tf_static")
    assert static["message_count"] == 3
    assert static["topic_metadata"]["offered_qos_profiles"][0]["durability"] == "transient_local"
    assert next(iter(read_recording(tmp_path / "r").frames)).why == "a test keeps it"


def test_messages_keep_their_bytes_and_a_file_says_what_it_holds(tmp_path):
    made = frame_messages(T0)
    path = tmp_path / "frame_1.mcap"
    path.write_bytes(mcap_bytes(made))
    assert read_part(path) == part_of(path.name, made)
    reader = BagReader(path)
    assert [(topic, at, cdr) for topic, at, cdr in reader.messages()] == [(m.topic, m.received_ns, m.cdr) for m in made]
    assert {topic.name for topic in reader.topics if topic.latched} == {"/tf_static"}


def test_the_budget_holds_at_every_step(tmp_path, monkeypatch):
    folder, budget, most = tmp_path / "r", 60_000, []

    def watched(name):
        real = getattr(os, name)

        def call(*args, **kwargs):
            most.append(sum(path.stat().st_size for path in folder.iterdir()))
            return real(*args, **kwargs)

        monkeypatch.setattr(atomic.os, name, call)

    recording = RecordingFolder(folder, budget)
    for name in ("replace", "fsync", "unlink"):
        watched(name)
    for number in range(12):
        frame, part, content = small_frame(number, size=3000 + 700 * (number % 3))
        evicted, needed = [], recording.excess(frame, part)
        while sum(other.bytes for other in evicted) < needed:
            evicted.append(recording.frames[len(evicted)])
        recording.keep(frame, part, content, evicted)
    recording.close()
    assert len(most) > 40 and 0.7 * budget < max(most) <= budget
    assert 3 <= len(check_plays(folder)) < 12
    frame, part, content = small_frame(99, size=2 * budget)
    with pytest.raises(ValueError, match="does not fit"):
        recording.keep(frame, part, content, recording.frames)


def test_a_smaller_budget_and_a_restart(tmp_path):
    fill(tmp_path / "r", 5).close()
    again = RecordingFolder(tmp_path / "r", 40_000)
    assert len(again.frames) == 5 and again.overrun > 0 and not again.problems
    again.remove(again.frames[:3])
    assert again.overrun <= 0 and check_plays(tmp_path / "r") == [T0 + 3 * S, T0 + 4 * S]


@pytest.mark.parametrize("step", range(10))
def test_each_step_may_fail_or_be_the_last(tmp_path, monkeypatch, step):
    """Keeping with an eviction: three files are written and renamed twice over, then deleted; each may be refused."""
    folder = tmp_path / "r"
    recording = fill(folder, 3)
    calls = [0]

    def failing(name):
        real = getattr(os, name)

        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] == step + 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(atomic.os, name, failing(name))
        with pytest.raises(DataError, match=f"{folder}.*No space left"):
            recording.keep(*small_frame(7), evicted=recording.frames[:1])
    survivors = {T0 + S, T0 + 2 * S}
    assert survivors <= set(check_plays(folder)) <= survivors | {T0}
    recording.close()
    again = RecordingFolder(folder, MB)  # what is left half done is completed
    again.keep(*small_frame(8))
    assert survivors | {T0 + 8 * S} <= set(check_plays(folder))
    again.close()
    assert not [path.name for path in folder.iterdir() if path.name.startswith((".frame", ".kept", ".metadata"))]
    assert not read_recording(folder).problems


def write_for_ever(folder: Path, first: int, kept: Connection) -> None:
    """Keep a frame a second from `first` on, the oldest going, until killed; `kept` gets the stamps of those kept."""
    recording = RecordingFolder(folder, 60_000)
    for number in itertools.count(first):
        frame, part, content = small_frame(number)
        evicted = recording.frames[:2] if recording.excess(frame, part) > 0 else ()
        recording.keep(frame, part, content, evicted)
        kept.send(frame.stamp_ns)


def test_a_kill_loses_at_most_the_frame_in_flight(tmp_path):
    """Two old frames go before a new one comes, so that a kill may leave two; none that is newer is lost."""
    folder, rng = tmp_path / "r", np.random.default_rng(0)
    kept = [T0]
    for _ in range(6):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        writer = multiprocessing.get_context("fork").Process(
            target=write_for_ever, args=(folder, (kept[-1] - T0) // S + 2, theirs)
        )
        writer.start()
        theirs.close()
        kept.append(ours.recv())
        time.sleep(rng.uniform(0.0, 0.03))
        writer.kill()
        writer.join()
        with contextlib.suppress(EOFError):
            while True:
                kept.append(ours.recv())
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 60_000
        plays = check_plays(folder)
        assert kept[-1] in plays and {stamp for stamp in kept if stamp >= min(plays)} <= set(plays)
    with opened(folder) as recording:
        assert recording.frames and not recording.problems
    assert not read_recording(folder).problems and len(check_plays(folder)) >= 2


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / METADATA).write_text("rosbag2_bagfile_information: {}")
    (tmp_path / "file").write_text("")
    for name, reason in (("bag", "belongs to something else"), ("file", "is a file")):
        with pytest.raises(DataError, match=reason):
            RecordingFolder(tmp_path / name, MB)
    assert [path.name for path in (tmp_path / "bag").iterdir()] == [METADATA]
    for name, reason in (("bag", f"has no {KEPT}"), ("nowhere", "does not exist")):
        with pytest.raises(DataError, match=reason):
            read_recording(tmp_path / name)
    with opened(tmp_path / "r"), pytest.raises(DataError, match="in use by another recorder"):
        RecordingFolder(tmp_path / "r", MB)


def test_a_damaged_folder_says_so_and_loses_nothing_more(tmp_path):
    fill(tmp_path / "r", 4).close()
    (frame, cut, missing, _) = read_recording(tmp_path / "r").frames
    (tmp_path / "r" / cut.file).write_bytes((tmp_path / "r" / cut.file).read_bytes()[:-40])
    (tmp_path / "r" / missing.file).unlink()
    assert len(read_recording(tmp_path / "r").frames) == 3
    with opened(tmp_path / "r") as recording:
        assert [kept.stamp_ns for kept in recording.frames] == [T0, T0 + 3 * S]
        assert len(recording.problems) == 2 and cut.file in recording.problems[0]
    assert check_plays(tmp_path / "r") == [T0, T0 + 3 * S]
    index = tmp_path / "r" / KEPT
    index.write_bytes(index.read_bytes()[:-20])
    kept = read_recording(tmp_path / "r")
    assert kept.frames == (replace(frame),) and "line 2" in kept.problems[0]
    with pytest.raises(DataError, match="line 2.*nothing is written"):
        RecordingFolder(tmp_path / "r", MB)
    assert len(list((tmp_path / "r").glob("frame_*.mcap"))) == 2


def test_a_recording_on_a_full_disk_is_opened_where_nothing_must_be_mended(tmp_path, monkeypatch):
    recording = RecordingFolder(tmp_path / "r", MB)
    frame, part, content = small_frame(1)
    recording.keep(frame, part, content)
    recording.close()
    monkeypatch.setattr(
        "kd_perception.atomic.tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space"))
    )
    assert RecordingFolder(tmp_path / "r", MB).frames == (frame,)


def test_a_full_disk_keeps_what_is_there(tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        recording = RecordingFolder(disk / "r", 50 * MB)
        refused = []
        for number in range(12):
            try:
                recording.keep(*small_frame(number, size=9000))
            except DataError as error:
                refused.append(str(error))
        if refused:  # a quota on single files never refuses these
            assert "make room or choose another folder" in refused[0]
            assert len(check_plays(disk / "r")) == 12 - len(refused) == len(recording.frames)
        recording.close()
