"""CenterPoint on pillars: its features lie on the student's grid, rows along y; sizes that do not fit are refused."""

import json
from dataclasses import replace

import pytest
import torch
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import teacher_run

from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.errors import ConfigError
from kd_perception.evaluation.metric import evaluate_results
from kd_training.batches.point_batch import PointBatch
from kd_training.config.sections import DataRoot, GridConfig
from kd_training.config.teacher import TeacherModelConfig
from kd_training.data.frames import open_dataset
from kd_training.evaluation.teacher import evaluate_teacher
from kd_training.models.teachers import build_teacher

TINY = TeacherModelConfig(
    name="tiny", grid=GridConfig(12.8, 0.8), pillar_size=0.4, pillar_channels=8, block_channels=[8, 16],
    block_layers=[1, 2], neck_channels=12, head_shared=16, head_hidden=8,
)  # fmt: skip


def one_point(x: float, y: float) -> PointBatch:
    return PointBatch(torch.tensor([[x, y, 1.0, 0.5, 0.0]]), torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (TINY, {"block1": (8, 32), "block2": (16, 16), "pre_head": (24, 32), "shared": (16, 32)}),
        (
            replace(TINY, pillar_size=0.2, block_channels=[8, 8, 16], block_layers=[1, 1, 1]),
            {"block0": (8, 64), "block1": (8, 32), "block2": (16, 16), "pre_head": (36, 32), "shared": (16, 32)},
        ),
    ],
)
def test_features_have_their_names_channels_and_sizes(config, names):
    model = build_teacher(config)
    points = PointBatch(torch.rand(50, 5) * 20 - 10, torch.arange(50) % 2)
    outputs = model.train_forward(points, 2)
    assert {name: (value.shape[1], value.shape[2]) for name, value in outputs.features.items()} == names
    assert model.feature_channels == {name: channels for name, (channels, _) in names.items()}
    assert outputs.heatmap.shape == (2, 10, 32, 32) and outputs.regression.shape == (2, 6, 12, 32, 32)
    assert model.grid.shape == (32, 32) and outputs.depth_logits is None


def test_a_point_shows_where_it_is_on_the_grid():
    """Rows are y, columns are x, in every feature map and in the answers."""
    torch.manual_seed(0)
    model = build_teacher(TINY).eval()
    empty = model.train_forward(PointBatch(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)), 1)
    shown = model.train_forward(one_point(8.2, -5.0), 1)
    for name in ("block1", "block2", "pre_head"):
        change = (shown.features[name] - empty.features[name]).abs().sum(dim=1)[0]
        rows, columns = change.nonzero().float().mean(dim=0).tolist()
        cell = 25.6 / change.shape[0]
        assert abs((columns + 0.5) * cell - 12.8 - 8.2) < 2 * cell
        assert abs((rows + 0.5) * cell - 12.8 + 5.0) < 2 * cell
    assert torch.isfinite(shown.heatmap).all()


def test_a_rigs_answer_does_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    model = build_teacher(TINY).eval()
    points = torch.rand(80, 5) * 20 - 10
    together = model.train_forward(PointBatch(points, torch.arange(80) % 2), 2)
    heatmap, regression = model.detect(PointBatch(points[::2], torch.zeros(40, dtype=torch.int64)))
    torch.testing.assert_close(torch.sigmoid(together.heatmap[0]), heatmap)
    torch.testing.assert_close(together.regression[0], regression)


def test_every_parameter_gets_a_gradient():
    model = build_teacher(TINY)
    outputs = model.train_forward(PointBatch(torch.rand(200, 5) * 20 - 10, torch.zeros(200, dtype=torch.int64)), 1)
    (outputs.heatmap.square().sum() + outputs.regression.square().sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pillar_size": 0.2}, "set pillar_size to 0.4"),
        ({"block_layers": [1]}, "must both have two or three entries"),
        ({"block_channels": [8], "block_layers": [1]}, "must both have two or three entries"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        build_teacher(replace(TINY, **change))


def test_the_metric_counts_every_keyframe_and_the_results_say_what_was_used(tmp_path):
    root = write_dataset(tmp_path / "data")
    dataset = open_dataset(DataRoot(root=str(root), version=VERSION))
    metrics = evaluate_teacher(build_teacher(teacher_run(root).teacher), dataset, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(stored["results"]) == {frame.frame.sample_token for frame in dataset.frames}
    assert stored["meta"]["use_lidar"] and not stored["meta"]["use_camera"]
    again = evaluate_results(open_nuscenes(root, VERSION), tmp_path / "out" / "results.json")
    assert (metrics.mean_ap, metrics.nds) == (again.mean_ap, again.nds)
