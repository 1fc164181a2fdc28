"""A full disk: one sentence, nothing half-written, and what was there before stays."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.small_disk import small_disk

from kd_perception.atomic import disk_refusal, write_bytes, write_text
from kd_perception.bags.messages import BAG
from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.errors import DataError

FULL = "No space left on device|File too large|database or disk is full|disk I/O error"


def fill_bag(path: Path, storage: str, images: int, overwrite: bool = False) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8).tobytes()
    with BagWriter(path, storage, overwrite=overwrite) as bag:
        for stamp in range(images):
            bag.write("/image", BAG.compressed_image(stamp, "camera", noise, "jpeg"), stamp)


def test_a_file_stays_as_it_was(tmp_path: Path):
    with small_disk(tmp_path / "disk", 128) as disk:
        write_text(disk / "results.json", "old")
        with pytest.raises(OSError, match=FULL) as caught:
            write_bytes(disk / "results.json", b"x" * 500_000)
        assert (disk / "results.json").read_text() == "old" and os.listdir(disk) == ["results.json"]
        sentence = disk_refusal(caught.value)
        assert sentence.startswith(f"{disk}/results.json cannot be written (") and "make room" in sentence


def test_other_errors_are_not_blamed_on_the_disk(tmp_path: Path):
    with pytest.raises(OSError) as caught:
        (tmp_path / "absent").read_bytes()
    assert disk_refusal(caught.value) == ""


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_is_whole_or_absent(tmp_path: Path, storage: str):
    with small_disk(tmp_path / "disk", 512) as disk:
        with pytest.raises(DataError, match=rf"bag {disk}/bag cannot be written \(({FULL})\); make room"):
            fill_bag(disk / "bag", storage, 100)
        assert os.listdir(disk) == []
        fill_bag(disk / "bag", storage, 3)
        with pytest.raises(DataError, match="cannot be written"):
            fill_bag(disk / "bag", storage, 100, overwrite=True)
        reader = BagReader(disk / "bag")
        assert reader.message_count == 3 and not reader.problems and os.listdir(disk) == ["bag"]
        reader.close()


def test_a_command_ends_with_one_sentence(tmp_path: Path):
    data = write_dataset(tmp_path / "data")
    with small_disk(tmp_path / "disk", 64) as disk:
        command = [sys.executable, "-m", "kd_perception.cli", "bag", "--dataroot", str(data), "--version", VERSION]
        command += ["--scene", SCENES[0], "--out", str(disk / "bag")]
        result = subprocess.run(command, capture_output=True, text=True)
        assert os.listdir(disk) == []
    assert result.returncode == 1, result.stderr
    assert "error: bag" in result.stderr and "cannot be written" in result.stderr
    assert "Traceback" not in result.stderr and result.stderr.count("error:") == 1
