"""Whatever happened to a kept file, only what was stored under the very same key comes back."""

import errno
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kd_perception.engines.build_cache import BuildKey, CacheMissError, default_folder, fetch, store

KEY = BuildKey("plan", "ab" * 32, "tensorrt10.3.0-aarch64", "Orin", "8.7", 16, 6, '{"images": [6, 256, 704, 3]}', 1)
PAYLOAD = bytes(range(256)) * 40


def other_values() -> list[BuildKey]:
    """KEY with each of its fields changed in turn."""
    changed = [
        replace(KEY, **{f.name: "other" if isinstance(getattr(KEY, f.name), str) else 99}) for f in fields(BuildKey)
    ]
    assert len({key.file_name() for key in (KEY, *changed)}) == len(changed) + 1
    return changed


def test_what_is_stored_comes_back(tmp_path: Path):
    path = store(tmp_path / "new" / "folder", KEY, PAYLOAD)
    assert fetch(tmp_path / "new" / "folder", KEY) == PAYLOAD
    assert os.listdir(path.parent) == [path.name]  # no temporary file is left
    assert path.name.startswith("abababababab-6cameras-tensorrt10.3.0_aarch64-Orin-") and path.suffix == ".plan"


def test_no_file_is_a_silent_miss(tmp_path: Path):
    with pytest.raises(CacheMissError) as miss:
        fetch(tmp_path / "nowhere", KEY)
    assert str(miss.value) == ""


@pytest.mark.parametrize("other", other_values(), ids=[f.name for f in fields(BuildKey)])
def test_a_file_of_another_key_is_foreign_even_under_this_name(tmp_path: Path, other: BuildKey):
    """Copied from another machine, kept over an update, renamed by hand."""
    store(tmp_path, other, PAYLOAD).rename(tmp_path / KEY.file_name())
    changed = next(f.name for f in fields(BuildKey) if getattr(other, f.name) != getattr(KEY, f.name))
    with pytest.raises(CacheMissError, match=f"was made for another {changed}$"):
        fetch(tmp_path, KEY)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float):
    path = store(tmp_path, KEY, PAYLOAD)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CacheMissError, match="truncated|no file of this cache"):
        fetch(tmp_path, KEY)


def test_a_longer_file_is_refused(tmp_path: Path):
    path = store(tmp_path, KEY, PAYLOAD)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CacheMissError, match="truncated"):
        fetch(tmp_path, KEY)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0), flip=st.integers(1, 255))
def test_any_flipped_byte_is_noticed(tmp_path: Path, position: int, flip: int):
    path = store(tmp_path, KEY, PAYLOAD)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= flip
    path.write_bytes(bytes(data))
    with pytest.raises(CacheMissError):
        fetch(tmp_path, KEY)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(junk=st.binary(max_size=300))
def test_junk_is_refused(tmp_path: Path, junk: bytes):
    for content in (junk, b"KDBUILD1" + junk, b"KDBUILD1\x02\x00\x00\x00[]" + junk):
        (tmp_path / KEY.file_name()).write_bytes(content)
        with pytest.raises(CacheMissError):
            fetch(tmp_path, KEY)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path):
    (tmp_path / KEY.file_name()).mkdir()
    with pytest.raises(CacheMissError, match="cannot be read"):
        fetch(tmp_path, KEY)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store(tmp_path, KEY, PAYLOAD)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store(tmp_path, KEY, b"newer")
    assert fetch(tmp_path, KEY) == PAYLOAD
    assert os.listdir(tmp_path) == [KEY.file_name()]


def test_the_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert default_folder() == Path("/elsewhere/kd_perception/engines")
    for unset in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert default_folder() == tmp_path / ".cache" / "kd_perception" / "engines"
