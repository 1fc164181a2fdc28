"""Training on real input: the student learns the one real nuScenes keyframe by heart and finds its objects again."""

from pathlib import Path

import pytest
from support.real_data import real_data

from kd_perception.resources import resource
from kd_training.config import DataRoot, load_config
from kd_training.run import validation_metrics
from kd_training.train import train


@pytest.mark.real_data
@pytest.mark.slow
def test_one_real_keyframe_is_learnt_by_heart(tmp_path):
    """Five of the ten classes are in the frame, so that a perfect student has mAP 0.5."""
    config = load_config(resource("config/training/overfit_real.yaml"))
    source = DataRoot(root=str(real_data("nuscenes-real")), version="v1.0-mini")
    config.data.roots = config.data.validation = [source]
    shipped = Path(resource("models/bevdet_demo.safetensors"))
    assert train(config, tmp_path, weights=shipped)
    ((_, metrics),) = validation_metrics(tmp_path)
    assert 0.40 <= metrics.mean_ap <= 0.50 + 1e-6
