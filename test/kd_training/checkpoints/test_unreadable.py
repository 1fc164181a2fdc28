"""Files of torch.save that are empty, cut or of another kind end in a sentence, wherever one is read."""

from pathlib import Path

import pytest
import torch

from kd_perception.errors import DataError
from kd_training.checkpoints.backbone_weights import load_backbone
from kd_training.checkpoints.checkpoint import STATE_FILE, load_state
from kd_training.checkpoints.unreadable import reason_of
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import ModelConfig
from kd_training.models.backbones.resnet import ResNet


@pytest.fixture(params=["empty", "text", "cut"])
def damaged(request, tmp_path) -> Path:
    path = tmp_path / STATE_FILE
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes({"empty": b"", "text": b"no such file", "cut": path.read_bytes()[:500]}[request.param])
    return path


def test_a_runs_state(damaged):
    with pytest.raises(DataError, match=r"state.pt is damaged \(.+\); start again or use --weights"):
        load_state(damaged.parent, TrainConfig())


def test_a_backbones_weights(damaged):
    config = ModelConfig(name="test", backbone="resnet18", backbone_weights=str(damaged))
    with torch.device("meta"), pytest.raises(DataError, match=r"no readable file of weights alone \(.+\); save a"):
        load_backbone(ResNet(18), config)


def test_an_error_without_words_is_called_by_its_kind():
    assert reason_of(EOFError()) == "EOFError"
    assert reason_of(RuntimeError("first\nsecond")) == "first"
