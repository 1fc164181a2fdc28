"""The voxel teacher: means of voxels, the student's grid, the budget, clouds without points, labels of virtual ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kd_perception.errors import ConfigError, DataError
from kd_training.batches.point_batch import PointBatch
from kd_training.config.sections import GridConfig
from kd_training.config.teacher import PointsConfig, TeacherModelConfig, VirtualPointsConfig, VoxelsConfig
from kd_training.models.teachers import build_teacher

VOXELS = VoxelsConfig(height=0.5, channels=[4, 6, 8], blocks=1, outgoing=6)
TINY = TeacherModelConfig(
    name="tiny", grid=GridConfig(6.4, 0.8), pillar_size=0.2, voxels=VOXELS, block_channels=[8, 16],
    block_layers=[1, 2], neck_channels=12, head_shared=16, head_hidden=8,
)  # fmt: skip
VIRTUAL = replace(TINY, points=PointsConfig(virtual=VirtualPointsConfig(per_instance=5)))
SPAN = torch.tensor([12.0, 12.0, 7.0, 1.0, 0.5])
LOW = torch.tensor([-6.0, -6.0, -2.5, 0.0, 0.0])


def teacher(config: TeacherModelConfig = TINY):
    torch.manual_seed(0)
    return build_teacher(config)


def cloud(count: int, rigs: int = 1, seed: int = 0, columns: int = 5) -> PointBatch:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 5, generator=generator) * SPAN + LOW
    return PointBatch(torch.nn.functional.pad(points, (0, columns - 5)), torch.arange(count) % rigs)


def test_features_are_those_of_the_pillar_teacher_and_every_parameter_learns():
    model = teacher()
    outputs = model.train_forward(cloud(300, 2), 2)
    sizes = {name: (value.shape[1], value.shape[2]) for name, value in outputs.features.items()}
    assert sizes.pop("volume") == (model.volume_channels, 16) and model.layer_heights == {"volume": 1}
    assert sizes == {"block1": (8, 16), "block2": (16, 8), "pre_head": (24, 16), "shared": (16, 16)}
    channels = {name: channels for name, (channels, _) in sizes.items()}
    assert model.feature_channels == {"volume": model.volume_channels, **channels}
    (outputs.heatmap.square().sum() + outputs.regression.square().sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert {name.split(".")[0] for name in model.state_dict()} == {"voxels", "backbone", "neck", "head"}


def test_the_volume_of_fine_voxels_has_several_heights_a_channel():
    """A point low in the cloud is seen in the lower heights, one high up in the upper ones."""
    model = teacher(replace(TINY, voxels=replace(TINY.voxels, height=0.125))).eval()
    heights = model.layer_heights["volume"]
    assert heights > 1 and model.feature_channels["volume"] == heights * TINY.voxels.outgoing
    for z, other in ((-2.9, -1), (4.4, 0)):
        cloud_of_one = PointBatch(torch.tensor([[0.5, 0.5, z, 0.2, 0.0]]), torch.zeros(1, dtype=torch.long))
        seen = model.train_forward(cloud_of_one, 1).features["volume"].unflatten(1, (-1, heights))
        assert seen.any() and not seen[:, :, other].any()


def test_voxels_hold_the_means_of_their_points_and_nothing_from_outside():
    model, batch = teacher(), cloud(400, 2)
    batch.points[0, 2] = 5.0  # the top of z_range is outside
    batch.points[1, 0] = -6.5
    given, labels = model.voxels._voxels(batch, 2)
    sums: dict[tuple[int, ...], list[np.ndarray]] = {}
    for point, rig in zip(batch.points.numpy(), batch.rig.tolist(), strict=True):
        z, y, x = ((point[[2, 1, 0]] - np.float32([-3.0, -6.4, -6.4])) / np.float32([0.5, 0.2, 0.2])).astype(int)
        if point[2] < 5.0 and point[0] >= -6.4:
            sums.setdefault((rig, z, y, x), []).append(point)
    assert [tuple(place) for place in given.places.tolist()] == sorted(sums) and labels is None
    expected = np.stack([np.mean(sums[place], axis=0) for place in sorted(sums)]) / [50.0, 50.0, 3.0, 1.0, 0.25]
    torch.testing.assert_close(given.features.numpy(), expected.astype(np.float32))


def test_a_point_shows_where_it_is_on_the_grid():
    model = teacher().eval()
    empty = model.train_forward(PointBatch(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)), 1)
    shown = model.train_forward(PointBatch(torch.tensor([[4.2, -3.0, 1.0, 0.5, 0.0]]), torch.zeros(1).long()), 1)
    for name in ("block1", "block2", "pre_head"):
        change = (shown.features[name] - empty.features[name]).abs().sum(dim=1)[0]
        rows, columns = change.nonzero().float().mean(dim=0).tolist()
        cell = 12.8 / change.shape[0]
        assert abs((columns + 0.5) * cell - 6.4 - 4.2) < 2 * cell and abs((rows + 0.5) * cell - 6.4 + 3.0) < 2 * cell
    assert torch.isfinite(shown.heatmap).all()


def test_rigs_do_not_mix_and_a_cloud_without_points_trains():
    model = teacher().eval()
    batch = cloud(200, 2)
    both = model.train_forward(batch, 2)
    alone, _ = model.detect(PointBatch(batch.points[::2], batch.rig[::2]))
    torch.testing.assert_close(torch.sigmoid(both.heatmap[0]), alone)
    model.train()
    nothing = model.train_forward(PointBatch(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)), 2)
    nothing.heatmap.sum().backward()
    assert torch.isfinite(nothing.heatmap).all()


def test_more_voxels_than_the_budget_stop_a_training_and_are_counted_in_evaluation():
    model = teacher(replace(TINY, voxels=replace(VOXELS, most=50)))
    with pytest.raises(DataError, match=r"teacher tiny: a cloud has \d+ voxels, and teacher.voxels.most is 50; raise"):
        model.train_forward(cloud(200), 1)
    crowded = cloud(200)
    full = crowded.points[:1].expand(3, -1)  # the fullest voxel stays
    batch = PointBatch(torch.cat([crowded.points, full]), torch.zeros(203, dtype=torch.int64))
    model.eval()
    voxels = len(teacher().voxels._voxels(batch, 1)[0].places)
    given, _ = model.voxels._voxels(batch, 1)
    assert len(given.places) == 50 and model.voxels_left_out == voxels - 50
    own = teacher().voxels._voxels(PointBatch(full, batch.rig[:3]), 1)[0].places
    assert (given.places == own).all(dim=1).any()


def test_labels_of_virtual_points_add_nothing_at_first_and_are_learnt():
    plain, model, batch = teacher().eval(), teacher(VIRTUAL).eval(), cloud(200, columns=6)
    batch.points[::2, 5] = 3.0
    model.load_state_dict(plain.state_dict(), strict=False)
    seen = model.train_forward(batch, 1).heatmap
    torch.testing.assert_close(seen, plain.train_forward(PointBatch(batch.points[:, :5], batch.rig), 1).heatmap)
    seen.sum().backward()
    assert model.voxels.label.weight.grad[[0, 3]].any(dim=1).all()
    assert not model.voxels.label.weight.grad[[1, 2]].any() and ("voxels.label",) in model.added_modules


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pillar_size": 0.4}, "3 stages make cells of 1.6 m of 0.4 m voxels, .*set pillar_size to 0.2"),
        ({"block_channels": [8, 8, 8], "block_layers": [1, 1, 1]}, "two blocks follow voxels"),
        ({"voxels": replace(VOXELS, channels=[4])}, "two to five channels"),
        ({"voxels": replace(VOXELS, height=0.3)}, "not a whole number of voxels of 0.3 m"),
        ({"voxels": replace(VOXELS, height=2.0)}, "4 layers of voxels are too few for 3 stages"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        build_teacher(replace(TINY, **change))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_network_of_other_axes_answers_on_the_egos_grid(turns):
    """Points that are turned the other way beforehand make the features of the network without turns."""
    plain, model = teacher().eval(), teacher(replace(TINY, network_turns=turns, network_height=0.5)).eval()
    model.load_state_dict(plain.state_dict())
    batch, seen = cloud(300), []
    x, y, z = batch.points[:, :3].unbind(1)
    x, y = [(x, y), (-y, x), (-x, -y), (y, -x)][turns]
    turned = PointBatch(torch.cat([torch.stack([x, y, z - 0.5], 1), batch.points[:, 3:]], 1), batch.rig)
    plain.voxels.raster = model.voxels.raster
    seen = plain.backbone(plain.voxels(turned, 1))
    found = model.train_forward(batch, 1).features["block1"]
    torch.testing.assert_close(found, torch.rot90(seen[0], turns, (2, 3)))
    change = model.train_forward(PointBatch(torch.tensor([[4.2, -3.0, 1.0, 0.5, 0.0]]), torch.zeros(1).long()), 1)
    empty = model.train_forward(PointBatch(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)), 1)
    place = (change.features["block1"] - empty.features["block1"]).abs().sum(1)[0].nonzero().float().mean(0)
    assert abs((place[1] + 0.5) * 0.8 - 6.4 - 4.2) < 1.6 and abs((place[0] + 0.5) * 0.8 - 6.4 + 3.0) < 1.6


def test_mixed_precision_moves_no_point():
    encoder, batch = teacher().voxels.eval(), cloud(200)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = encoder(batch, 1)
    assert mixed.any() and torch.equal(mixed, encoder(batch, 1))
