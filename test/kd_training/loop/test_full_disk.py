"""A full disk while a run saves itself: the sentence names the file, and the last whole checkpoint stays."""

import os
from pathlib import Path

import pytest
import torch
from support.small_disk import small_disk

from kd_perception.atomic import disk_refusal
from kd_training.checkpoints.checkpoint import STATE_FILE, WEIGHTS_FILE, read_weights, save_state, save_weights
from kd_training.config.experiment import TrainConfig


def test_the_last_whole_checkpoint_stays(tmp_path: Path):
    small, large = {"a": torch.zeros(10)}, {"a": torch.zeros(1_000_000)}
    config = TrainConfig()
    with small_disk(tmp_path / "disk", 256) as disk:
        save_weights(small, config, disk / WEIGHTS_FILE)
        save_state(small, disk / STATE_FILE)
        for save in (
            lambda: save_weights(large, config, disk / WEIGHTS_FILE),
            lambda: save_state(large, disk / STATE_FILE),
        ):
            with pytest.raises(OSError) as caught:
                save()
            assert disk_refusal(caught.value).startswith(f"{disk}/")
        assert sorted(os.listdir(disk)) == sorted([STATE_FILE, WEIGHTS_FILE])
        assert read_weights(disk / WEIGHTS_FILE)[0]["a"].shape == (10,)
        assert torch.load(disk / STATE_FILE, weights_only=True)["a"].shape == (10,)
