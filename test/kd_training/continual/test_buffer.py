"""The replay buffer on disk: what is kept, that it reads like any data set, and that it is whole at any moment."""

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.nuscenes_tables import SCENES, VERSION, four_and_seven, write_dataset

from kd_perception.data_check.command import examine
from kd_perception.datasets.nuscenes import open_nuscenes, read_lidar
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_training.config.continual import BufferConfig, ReplayConfig
from kd_training.config.sections import DataConfig, DataRoot
from kd_training.continual import buffer as buffer_module
from kd_training.continual import storage
from kd_training.continual.buffer import OfferedDomain, add_domain
from kd_training.continual.storage import clean
from kd_training.data.frames import KeyFrames, open_dataset, open_frames
from kd_training.data.older_sweeps import older_sweeps
from kd_training.data.replay import open_replay
from kd_training.data.replay_buffer import BUFFER_VERSION, ENTRIES_FILE, STATE_FILE, read_buffer

SMALL = BufferConfig(keyframes=4, least=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"), samples=5)


def scenes(data: Path, *named: str, classes: ClassList = NUSCENES) -> KeyFrames:
    return open_frames([DataRoot(root=str(data), version=VERSION, scenes=list(named))], classes)


def offer(data: Path, number: int = 0, **fields) -> OfferedDomain:
    """A scene as a domain."""
    return OfferedDomain(("day", "night")[number], scenes(data, SCENES[number]), **fields)


def replayed(folder: Path, classes: ClassList = NUSCENES, **fields) -> KeyFrames:
    return open_replay(ReplayConfig(str(folder), **fields), DataConfig(roots=[]), classes).frames


def content(folder: Path) -> dict[str, bytes]:
    """All files by name, the link followed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def there(folder: Path) -> set[str]:
    """Names of the files of kept keyframes."""
    return {name for name in content(folder) if name.split("/")[0] in storage.CONTENT}


def only(classes: ClassList, *names: str) -> ClassList:
    groups = [replace(group, classes=tuple(kind for kind in group.classes if kind.name in names))
              for group in classes.groups]  # fmt: skip
    return ClassList(tuple(group for group in groups if group.classes))


def test_a_kept_keyframe_is_the_keyframe_that_was_offered(data, tmp_path):
    """Boxes, velocities, cameras, poses, clouds, and what came before: an earlier moment, and a sweep."""
    add_domain(tmp_path / "buffer", offer(data), SMALL)
    originals = {frame.frame.sample_token: frame for frame in scenes(data, SCENES[0])}
    buffer, kept = read_buffer(tmp_path / "buffer"), replayed(tmp_path / "buffer")
    assert len(kept) == len(buffer.entries) == 4
    with_neighbour = 0
    for frame in kept:
        entry = buffer.by_sample[frame.frame.sample_token]
        original = originals[entry.source_sample]
        for name in ("center", "size", "yaw", "velocity", "label"):
            np.testing.assert_allclose(getattr(frame.boxes, name), getattr(original.boxes, name), atol=1e-9)
        np.testing.assert_allclose(frame.frame.global_from_ego, original.frame.global_from_ego)
        for image, before in zip(frame.frame.images, original.frame.images, strict=True):
            assert image.camera.name == before.camera.name and image.timestamp_us == before.timestamp_us
            for matrix in ("intrinsics", "ego_from_camera"):
                np.testing.assert_allclose(getattr(image.camera, matrix), getattr(before.camera, matrix))
            assert image.read() == before.read() and image.path.samefile(before.path)
        assert (read_lidar(frame.nusc, frame.lidar) == read_lidar(original.nusc, original.lidar)).all()
        sweeps = [[row["timestamp"] for row in older_sweeps(one, 9)] for one in (frame, original)]
        assert sweeps[0] == sweeps[1]
        assert entry.classes == Counter(frame.boxes.class_of(k).name for k in range(len(frame.boxes)))
        rng = np.random.default_rng(0)
        earlier = frame.earlier(rng, 0.1, 1.0)
        with_neighbour += earlier is not None
        if earlier is not None:
            assert earlier.timestamp_us == frame.frame.timestamp_us - 500_000 and earlier.sample_token == ""
    assert with_neighbour == 4 - sum(entry.number == 0 for entry in buffer.entries)


def test_it_reads_like_any_data_set(data, tmp_path):
    buffer = add_domain(tmp_path, offer(data), SMALL)
    assert len(open_dataset(DataRoot(root=str(tmp_path), version=BUFFER_VERSION)).frames) == 4
    report = examine(open_nuscenes(tmp_path, BUFFER_VERSION))
    assert "4 scenes, 4 keyframes" in report.title and len(report.labels) == 4 * 7
    assert buffer.size == sum(path.stat().st_size for folder in ("samples", "sweeps", "kept")
                              for path in (tmp_path / folder).rglob("*") if path.is_file())  # fmt: skip


def test_a_second_domain_shares_the_buffer_which_keeps_its_bound(data, tmp_path):
    first = add_domain(tmp_path, offer(data), SMALL)
    second = add_domain(tmp_path, offer(data, 1), replace(SMALL, keyframes=99))
    assert [domain.name for domain in second.state.domains] == ["day", "night"] and second.state.offered == 10
    assert Counter(entry.share for entry in second.entries) == {"reservoir": 2, "importance": 2}
    important = {entry.domain for entry in second.entries if entry.share == "importance"}
    assert important == {"day", "night"}, "one domain does not push the other out"
    before = {entry.number: entry.sample for entry in first.entries}
    assert all(before[entry.number] == entry.sample for entry in second.entries if entry.domain == "day")
    assert there(tmp_path) == {name for entry in second.entries for name in entry.files}, "what was evicted is gone"
    assert len(replayed(tmp_path)) == 4


def test_the_same_offers_make_the_same_buffer_and_another_seed_another(data, tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 3)):
        for number in range(2):
            add_domain(tmp_path / name, offer(data, number), replace(SMALL, seed=seed))
    one, same, other = (content(tmp_path / name / BUFFER_VERSION) for name in ("one", "same", "other"))
    assert one == same and one[ENTRIES_FILE] != other[ENTRIES_FILE]


@pytest.mark.parametrize("step", ["write_files", "exchange", "replace", "clean"])
def test_a_kill_leaves_the_old_or_the_new_buffer(data, tmp_path, monkeypatch, step):
    """Nothing catches a kill: here what follows it does nothing."""
    add_domain(tmp_path, offer(data), SMALL)
    old, steps = read_buffer(tmp_path), []

    def killed(*arguments):
        steps.append(step)
        raise SystemExit

    def cleaned(folder):
        if step == "clean" and len(read_buffer(folder).state.domains) == 2:
            killed()

    monkeypatch.setattr(buffer_module, "clean", cleaned)
    if step != "clean":
        monkeypatch.setattr(storage.os if step == "replace" else buffer_module, step, killed)
    with pytest.raises(SystemExit):
        add_domain(tmp_path, offer(data, 1), SMALL)
    monkeypatch.undo()
    now = read_buffer(tmp_path)
    assert steps == [step] and len(replayed(tmp_path)) == 4
    if step == "clean":
        assert len(now.state.domains) == 2
        clean(tmp_path)
    else:
        assert now == old
        now = add_domain(tmp_path, offer(data, 1), SMALL)
    assert len(replayed(tmp_path)) == 4 and len(list((tmp_path / "tables").iterdir())) == 1
    assert there(tmp_path) == {name for entry in now.entries for name in entry.files}


def test_a_copy_without_links_grows_like_the_buffer_itself(data, tmp_path, monkeypatch):
    """FAT has no links, and some tools follow them; a kill while the copy is mended loses nothing, either."""
    add_domain(tmp_path / "buffer", offer(data), SMALL)
    copy = shutil.copytree(tmp_path / "buffer", tmp_path / "copy")
    assert not (copy / BUFFER_VERSION).is_symlink() and len(read_buffer(copy).entries) == 4
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(storage.os, "replace", killed)
        storage.restore_link(copy)
    grown = add_domain(copy, offer(data, 1), SMALL)
    assert grown.entries == add_domain(tmp_path / "buffer", offer(data, 1), SMALL).entries
    assert (copy / BUFFER_VERSION).is_symlink() and len(replayed(copy)) == 4


def test_buffers_that_share_files_grow_apart(data, tmp_path):
    first = add_domain(tmp_path / "first", offer(data), SMALL)
    storage.copy_buffer(tmp_path / "first", tmp_path / "second")
    name = first.entries[0].files[0]
    assert (tmp_path / "second" / name).stat().st_ino == (tmp_path / "first" / name).stat().st_ino
    with storage.alone_in(tmp_path / "first"):  # each has a lock of its own
        grown = add_domain(tmp_path / "second", offer(data, 1), SMALL)
    assert read_buffer(tmp_path / "first") == first and len(replayed(tmp_path / "first")) == 4
    assert len(grown.state.domains) == 2 and len(replayed(tmp_path / "second")) == 4


def killed(*_: object) -> None:
    raise SystemExit


def test_a_first_addition_that_was_killed_can_be_made_again(data, tmp_path, monkeypatch):
    def killed(*arguments):
        raise SystemExit

    monkeypatch.setattr(buffer_module, "clean", lambda folder: None)
    monkeypatch.setattr(storage.os, "replace", killed)
    with pytest.raises(SystemExit):
        add_domain(tmp_path, offer(data), SMALL)
    monkeypatch.undo()
    assert len(add_domain(tmp_path, offer(data), SMALL).entries) == len(replayed(tmp_path)) == 4


def test_one_addition_at_a_time(data, tmp_path):
    add_domain(tmp_path, offer(data), SMALL)
    with storage.alone_in(tmp_path), pytest.raises(ConfigError, match="another process is adding to the buffer"):
        add_domain(tmp_path, offer(data, 1), SMALL)
    assert len(add_domain(tmp_path, offer(data, 1), SMALL).state.domains) == 2


def test_a_full_disk_leaves_the_buffer_as_it_was(data, tmp_path, monkeypatch):
    add_domain(tmp_path, offer(data), SMALL)
    before = content(tmp_path)

    def refused(target, text):
        raise OSError(28, "No space left on device", str(target))

    for writer in ("write_text", "write_bytes"):
        monkeypatch.setattr(storage, writer, refused)
        with pytest.raises(OSError, match="No space left"):
            add_domain(tmp_path, offer(data, 1), SMALL)
        monkeypatch.undo()
        assert content(tmp_path) == before


def test_files_are_copied_where_links_cannot_be_made(data, tmp_path, monkeypatch):
    def refused(*arguments, **named):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    add_domain(tmp_path, offer(data), SMALL)
    assert all(image.path.stat().st_nlink == 1 for frame in replayed(tmp_path) for image in frame.frame.images)


def test_classes_that_join_later_are_in_doubt_where_nobody_labelled_them(data, tmp_path):
    few, more = only(NUSCENES, "car", "bus"), only(NUSCENES, "car", "truck", "bus", "pedestrian")
    add_domain(tmp_path, OfferedDomain("day", scenes(data, SCENES[0], classes=few)), SMALL)
    for frame in replayed(tmp_path, more):
        assert {frame.boxes.class_of(k).name for k in range(len(frame.boxes))} <= {"car", "bus"}
        assert {more.names[label] for label in frame.doubt.everywhere} == {"truck", "pedestrian"}
    assert all(frame.doubt is None for frame in replayed(tmp_path, few))


def test_rigs_may_differ_between_domains(data, tmp_path):
    other = write_dataset(tmp_path / "other", rigs=four_and_seven())
    add_domain(tmp_path / "buffer", offer(data), SMALL)
    add_domain(tmp_path / "buffer", OfferedDomain("other robot", scenes(other)), SMALL)
    assert {len(frame.cameras) for frame in replayed(tmp_path / "buffer")} > {6}


def test_what_cannot_be_offered_changes_nothing(data, tmp_path):
    add_domain(tmp_path, offer(data), SMALL)
    before = content(tmp_path)
    with pytest.raises(ConfigError, match="1 scenes of domain 'again' are in the buffer .* already, as domain 'day'"):
        add_domain(tmp_path, OfferedDomain("again", scenes(data)), SMALL)
    with pytest.raises(ConfigError, match="has boxes on 5 of 5 keyframes, too few .* nothing was changed"):
        add_domain(tmp_path, offer(data, 1), replace(SMALL, least=20))
    with pytest.raises(ConfigError, match="is a replay buffer itself"):
        add_domain(tmp_path, OfferedDomain("old", replayed(tmp_path)), SMALL)
    with pytest.raises(ConfigError, match="is no name of a domain"):
        add_domain(tmp_path, replace(offer(data, 1), name="a/b"), SMALL)
    assert content(tmp_path) == before
    with pytest.raises(ConfigError, match="holds something else than a replay buffer"):
        add_domain(data, offer(data), SMALL)
    (tmp_path / "pictures" / "samples").mkdir(parents=True)  # of a data set whose tables are elsewhere
    with pytest.raises(ConfigError, match="holds something else than a replay buffer"):
        add_domain(tmp_path / "pictures", offer(data), SMALL)
    with pytest.raises(ConfigError, match="asks for 1 keyframes"):
        add_domain(tmp_path / "new", offer(data), replace(SMALL, keyframes=1))
    assert not (tmp_path / "new").exists()


def test_labels_that_contradict_themselves_are_named(data, tmp_path):
    twice = write_dataset(tmp_path / "data", samples=3)
    path = twice / VERSION / "sample_annotation.json"
    rows = json.loads(path.read_text())
    categories = {
        row["token"]: row["category_token"] for row in json.loads((path.parent / "instance.json").read_text())
    }
    car = rows[0]
    bus = next(row for row in rows if categories[row["instance_token"]] != categories[car["instance_token"]])
    rows.append(car | {"token": "twice", "instance_token": bus["instance_token"], "prev": "", "next": ""})
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match="labels of 1 keyframes of domain 'day' contradict .* a car and a bus at the"):
        add_domain(tmp_path / "buffer", OfferedDomain("day", scenes(twice)), SMALL)
    assert not (tmp_path / "buffer").exists()


def test_a_broken_or_foreign_buffer_is_named(data, tmp_path):
    with pytest.raises(DataError, match="holds no replay buffer"):
        replayed(data)
    add_domain(tmp_path, offer(data), SMALL)
    tables = tmp_path / BUFFER_VERSION
    state, entries = (tables / STATE_FILE).read_bytes(), (tables / ENTRIES_FILE).read_bytes()
    (tables / ENTRIES_FILE).write_bytes(entries[:-9])
    with pytest.raises(DataError, match="is broken"):
        replayed(tmp_path)
    (tables / ENTRIES_FILE).write_bytes(b"\n".join(entries.splitlines()[1:]))
    with pytest.raises(DataError, match="its tables have other keyframes than its list"):
        replayed(tmp_path)
    (tables / ENTRIES_FILE).write_bytes(entries)
    (tables / STATE_FILE).write_bytes(msgspec.json.encode(msgspec.json.decode(state) | {"format": 9}))
    with pytest.raises(DataError, match="has format 9"):
        replayed(tmp_path)
    (tables / STATE_FILE).write_bytes(state)
    next((tmp_path / "samples").rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match="lacks 1 of its files, the first is samples/"):
        add_domain(tmp_path, offer(data, 1), SMALL)
    for share in (0.0, 1.0):
        with pytest.raises(ConfigError, match="continual.replay.share"):
            replayed(tmp_path, share=share)
