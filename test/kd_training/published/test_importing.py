"""Published CenterPoints, imported, answer as a plain reference of their frameworks does: on the ego's grid, in
base_link. What a file lacks or has beside is named; what could run code is refused."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.published import (
    BRANCHES,
    bev_reference,
    head_names,
    normed,
    pillar_checkpoint,
    voxel_checkpoint,
    voxel_reference,
)
from typer.testing import CliRunner

from kd_perception.errors import DataError
from kd_perception.imports.command import app
from kd_perception.student.box_codes import VECTOR
from kd_training.batches.point_batch import PointBatch
from kd_training.checkpoints.checkpoint import checkpoint_config, read_weights
from kd_training.checkpoints.models import load_teacher
from kd_training.config.sections import GridConfig
from kd_training.models.backbones.resnet import ResNet
from kd_training.models.teachers import build_teacher
from kd_training.published.coverage import cover
from kd_training.published.files import PublishedFile, read_published
from kd_training.published.head_table import BoxConvention
from kd_training.published.importing import Import, import_checkpoint
from kd_training.published.student_table import student_pairs

HEIGHT = 1.84
CELL = 0.8


def saved(tmp_path, made, **beside):
    holder = "state_dict" if made.framework == "mmdet3d" else "model_state"
    torch.save({holder: made.state, **beside}, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def small_teacher(weights, extent: float):
    """The imported teacher on a small grid: its weights are the same."""
    whole = load_teacher(weights)
    model = build_teacher(replace(whole.config, grid=GridConfig(extent, CELL)))
    model.load_state_dict(whole.state_dict())
    return model.eval()


def ego_points(extent: float, count: int = 60) -> torch.Tensor:
    span = torch.tensor([2 * extent, 2 * extent, 7.9, 1.0, 0.5])
    points = torch.rand(count, 5, generator=torch.Generator().manual_seed(3)) * span
    return points - torch.tensor([extent, extent, 3.1, 0.0, 0.0])


def in_lidar(points: torch.Tensor) -> torch.Tensor:
    """x to the right, y ahead, from the LiDAR up; intensity to 255."""
    x, y, z, intensity, age = points.unbind(1)
    return torch.stack([-y, x, z - HEIGHT, intensity * 255.0, age], dim=1)


def boxes_of(maps: dict[str, torch.Tensor], row: int, column: int, extent: float, boxes: BoxConvention) -> np.ndarray:
    """Centre, size, yaw as sine and cosine, velocity of a published head's answer, in base_link."""
    reg, height, dim, rot, vel = (maps[name][:, row, column].double().numpy() for name in BRANCHES["mmdet3d"][:5])
    x, y = (column + reg[0]) * CELL - extent, (row + reg[1]) * CELL - extent
    sizes = np.exp(np.clip(dim, -4.0, 4.0))  # as ours
    length, width, high = sizes if boxes is not BoxConvention.mmdet3d_0 else sizes[[1, 0, 2]]
    first, second = rot if boxes is not BoxConvention.openpcdet else rot[::-1]  # sine, cosine
    norm = math.hypot(first, second)
    yaw = (
        math.atan2(first, second) if boxes is not BoxConvention.mmdet3d_0 else -math.atan2(first, second) - math.pi / 2
    )
    yaw -= math.pi / 2  # the LiDAR's x lies to the right
    return np.array([y, -x, height[0] + HEIGHT, length, width, high, norm * math.sin(yaw), norm * math.cos(yaw),
                     vel[1], -vel[0]])  # fmt: skip


def check_answers(model, points: torch.Tensor, answers: list[dict[str, torch.Tensor]], boxes: BoxConvention) -> None:
    extent, cells = model.grid.x_max, model.grid.shape[0]
    found = model.train_forward(PointBatch(points, torch.zeros(len(points), dtype=torch.int64)), 1)
    heat = torch.cat([torch.rot90(maps["heatmap"], 1, (1, 2)) for maps in answers])
    torch.testing.assert_close(found.heatmap[0], heat, atol=2e-4, rtol=1e-3)
    assert heat.std() > 0.05
    for group, row, column in ((0, 0, 0), (2, 3, 1), (5, cells - 1, 2), (1, cells // 2, cells - 1)):
        codes = found.regression[0, group, :, row, column].detach().double().numpy()[None]
        place = np.array([row]), np.array([column])
        ours = np.concatenate([VECTOR.center(codes, *place, model.grid)[0], VECTOR.size(codes)[0], codes[0, 6:8],
                               VECTOR.velocity(codes)[0]])  # fmt: skip
        # a cell (row, column) of ours lies at x ahead: there it is row = column, column = cells - 1 - row
        np.testing.assert_allclose(
            ours, boxes_of(answers[group], column, cells - 1 - row, extent, boxes), atol=2e-3, rtol=2e-3
        )


@pytest.mark.parametrize(
    ("framework", "layout", "boxes"),
    [
        ("mmdet3d", "spconv2", BoxConvention.mmdet3d_1),
        ("mmdet3d", "spconv1", BoxConvention.mmdet3d_0),
        ("openpcdet", "spconv2", BoxConvention.openpcdet),
        ("openpcdet", "native", BoxConvention.openpcdet),
    ],
)
@torch.no_grad()
def test_a_voxel_checkpoint_answers_as_its_framework_does(tmp_path, framework, layout, boxes):
    made = voxel_checkpoint(framework, layout, blocks=2 if layout == "spconv2" else 1)
    meta = {
        "mmdet3d_version": "0.17.1" if boxes is BoxConvention.mmdet3d_0 else "1.0.0rc6",
        "config": "voxel_size = [0.1, 0.1",
    }
    coverage = import_checkpoint(Import(saved(tmp_path, made, meta=meta), tmp_path, "centerpoint_voxel"))
    assert coverage.complete
    extent = 3.2
    model, points = small_teacher(tmp_path / "weights.safetensors", extent), ego_points(extent)
    lidar, cells = in_lidar(points), round(2 * extent / 0.1)
    place = ((lidar[:, :3] - torch.tensor([-extent, -extent, -5.0])) / torch.tensor([0.1, 0.1, 0.2])).floor().long()
    raster, count = torch.zeros(1, 5, 41, cells, cells), torch.zeros(1, 1, 41, cells, cells)
    for (x, y, z), point in zip(place.tolist(), lidar, strict=True):
        raster[0, :, z, y, x] += point
        count[0, 0, z, y, x] += 1
    bev = voxel_reference(made, raster / count.clamp(min=1), (count > 0).float())
    check_answers(model, points, bev_reference(made, bev, 2, 1), boxes)


@pytest.mark.parametrize(("framework", "inputs"), [("mmdet3d", 11), ("mmdet3d", 10), ("openpcdet", 11)])
@torch.no_grad()
def test_a_pillar_checkpoint_answers_as_its_framework_does(tmp_path, framework, inputs):
    made, boxes = (
        pillar_checkpoint(framework, inputs),
        BoxConvention.mmdet3d_1 if framework == "mmdet3d" else BoxConvention.openpcdet,
    )
    path = saved(tmp_path, made)
    given = Import(path, tmp_path, "centerpoint_pillar", boxes if framework == "mmdet3d" else None)
    assert import_checkpoint(given).complete
    extent = 3.2
    model, points = small_teacher(tmp_path / "weights.safetensors", extent), ego_points(extent)
    lidar, cells = in_lidar(points), round(2 * extent / 0.2)
    place = ((lidar[:, :2] + extent) / 0.2).floor().long()
    raster = torch.zeros(1, 8, cells, cells)
    prefix, most = "pts_voxel_encoder" if framework == "mmdet3d" else "vfe", torch.zeros(0)
    for x, y in place.unique(dim=0).tolist():
        own = lidar[(place == torch.tensor([x, y])).all(1)]
        centre = torch.tensor([x * 0.2 + 0.1 - extent, y * 0.2 + 0.1 - extent, -1.0])
        values = torch.cat([own, own[:, :3] - own[:, :3].mean(0), (own[:, :3] - centre)[:, : inputs - 8]], 1)
        if framework == "mmdet3d":  # hard voxels: filled up to 20 rows
            values = torch.cat([values, torch.zeros(20 - len(own), inputs)])
        for layer in range(1 if framework == "mmdet3d" else 2):
            if layer:
                values = torch.cat([values, most.expand_as(values)], 1)
            values = values @ made.state[f"{prefix}.pfn_layers.{layer}.linear.weight"].T
            values = torch.relu(normed(made, values, f"{prefix}.pfn_layers.{layer}.norm", 1e-3))
            most = values.max(0).values
        raster[0, :, y, x] = most
    check_answers(model, points, bev_reference(made, raster, 3, 2), boxes)


def test_what_is_missing_or_left_over_is_named_and_nothing_is_written_unless_asked(tmp_path):
    made = voxel_checkpoint("openpcdet")
    last = head_names("openpcdet", 3, "vel")[2]
    del made.state[f"{last}.bias"]
    made.state["roi_head.fc.weight"] = torch.zeros(2, 2)
    made.state["global_step"] = torch.zeros(1)
    given = Import(saved(tmp_path, made), tmp_path / "out", "centerpoint_voxel")
    with pytest.raises(
        DataError, match=r"in part: .* 1 missing, .* 5 left over, first missing: head.regression.3.1.bias"
    ):
        import_checkpoint(given)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["coverage.txt"]
    text = (tmp_path / "out" / "coverage.txt").read_text()
    assert max(map(len, text.splitlines())) <= 80 and "global_step" not in text
    flat = "".join(text.replace("│", " ").split())
    assert "roi_head.fc.weight" in flat and f"lacks{last}.bias" in flat
    coverage = import_checkpoint(given, partial=True)
    written = read_weights(tmp_path / "out" / "weights.safetensors")[0]
    parts = [head_names("openpcdet", 3, name)[2] for name in BRANCHES["openpcdet"][:4]]
    assert coverage.left_over == [*(f"{part}.bias" for part in parts), "roi_head.fc.weight"]
    assert set(coverage.missing) == {"head.regression.3.1.bias"} and "head.regression.3.1.bias" in written


def test_a_transposed_tensor_is_told_as_such(tmp_path):
    made = pillar_checkpoint("mmdet3d")
    name = "pts_backbone.blocks.1.0.weight"
    made.state[name] = made.state[name].transpose(0, 1).contiguous()
    with pytest.raises(DataError) as raised:
        import_checkpoint(Import(saved(tmp_path, made), tmp_path, "centerpoint_pillar", BoxConvention.mmdet3d_1))
    assert "backbone.blocks.1.0.0.weight (4, 6, 3, 3), not" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nothing.weight": torch.zeros(1)}, "no CenterPoint of a known layout: its tensors are called nothing.weight"),
        ({}, "no weights by name"),
        ([1, 2], "no weights by name"),
    ],
)
def test_unknown_layouts_are_refused(tmp_path, change, said):
    torch.save(change, tmp_path / "a.pth")
    with pytest.raises(DataError, match=said):
        import_checkpoint(Import(tmp_path / "a.pth", tmp_path, "centerpoint_voxel"))


@pytest.mark.parametrize("name", ["empty", "text", "pickle"])
def test_files_without_a_checkpoint_are_no_harm_and_are_called_unreadable(tmp_path, name):
    content = {"empty": b"", "text": b"not found", "pickle": pickle.dumps({"a": 1}, protocol=4)}[name]
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(DataError, match="a.pth is no readable checkpoint .*; download it again"):
        read_published(tmp_path / "a.pth")
    torch.save({1: torch.zeros(1)}, tmp_path / "numbers.pth")
    with pytest.raises(DataError, match="no weights by name"):
        read_published(tmp_path / "numbers.pth")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("backbone_2d.blocks.0.1.weight", "has 0 axes (), where 4 are expected"),
        ("vfe.pfn_layers.0.linear.weight", "has 0 axes (), where 2 are expected"),
        (head_names("openpcdet", 0, "rot")[2] + ".weight", "1 of another shape"),
        (head_names("openpcdet", 0, "rot")[1] + ".running_mean", "1 of another shape"),
        (head_names("openpcdet", 0, "rot")[0] + ".bias", "1 of another shape"),
    ],
)
def test_a_number_in_the_place_of_a_tensor_is_never_spread_over_it(tmp_path, name, said):
    made = pillar_checkpoint("openpcdet")
    assert name in made.state
    made.state[name] = torch.tensor(1.0)
    with pytest.raises(DataError) as raised:
        import_checkpoint(Import(saved(tmp_path, made), tmp_path / "out", "centerpoint_pillar"))
    assert said in str(raised.value)


class Harmful:
    """A pickle that would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)


def test_files_that_run_code_are_refused_and_so_is_what_cannot_be_told(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "hook": Harmful(tmp_path / "made")}, tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"Python objects next to its tensors \(\w+.mkdir\).*could run code: refused"):
        import_checkpoint(Import(tmp_path / "a.pth", tmp_path, "bevdet"))
    assert not (tmp_path / "made").exists()
    (tmp_path / "b.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match="b.pth is no readable checkpoint"):
        import_checkpoint(Import(tmp_path / "b.pth", tmp_path, "bevdet"))
    with pytest.raises(DataError, match="does not exist"):
        import_checkpoint(Import(tmp_path / "c.pth", tmp_path, "bevdet"))
    made = voxel_checkpoint("mmdet3d")
    with pytest.raises(DataError, match="1.0 changed how boxes are coded; give --boxes mmdet3d-0"):
        import_checkpoint(Import(saved(tmp_path, made), tmp_path, "centerpoint_voxel"))
    meta = {"mmdet3d_version": "1.0.0", "config": "voxel_size = [0.075, 0.075, 0.2]"}
    with pytest.raises(DataError, match="trained with voxels of 0.075 m"):
        import_checkpoint(Import(saved(tmp_path, made, meta=meta), tmp_path, "centerpoint_voxel"))
    with pytest.raises(DataError, match="lacks pts_backbone.blocks.2.0.weight; check --as"):
        import_checkpoint(Import(saved(tmp_path, made), tmp_path, "centerpoint_pillar", BoxConvention.mmdet3d_1))
    name = "pts_middle_encoder.conv_input.0.weight"
    made.state[name] = made.state[name].transpose(0, 4).contiguous()
    with pytest.raises(DataError, match="which is no sparse convolution of 5 inputs in a known layout"):
        import_checkpoint(Import(saved(tmp_path, made), tmp_path, "centerpoint_voxel", BoxConvention.mmdet3d_1))


def test_a_students_checkpoint_covers_its_image_half(tmp_path):
    torch.manual_seed(1)
    backbone = ResNet(50).state_dict()
    state = {f"img_backbone.{name}": value for name, value in backbone.items()}
    state |= {f"img_neck.lateral_convs.{i}.conv.weight": torch.ones(24, c, 1, 1) for i, c in enumerate((1024, 2048))}
    state |= {f"img_neck.lateral_convs.{i}.conv.bias": torch.ones(24) for i in (0, 1)}
    state["img_view_transformer.depth_net.weight"] = torch.ones(3, 24, 1, 1)
    save_file(state, tmp_path / "student.safetensors")
    arguments = ["checkpoint", str(tmp_path / "student.safetensors"), "--as", "bevdet", "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, DataError) and "--partial" in str(refused.exception)
    assert "left over  img_view_transformer.depth_net.weight" in refused.stdout and "mapped  " not in refused.stdout
    assert CliRunner().invoke(app, [*arguments, "--partial"]).exit_code == 0
    written = read_weights(tmp_path / "out" / "weights.safetensors")[0]
    assert all(torch.equal(written[f"backbone.{name}"], value) for name, value in backbone.items() if value.ndim)
    assert written["neck.lateral.1.weight"].eq(1).all()
    config = checkpoint_config(tmp_path / "out" / "weights.safetensors")
    assert (config.model.backbone, config.model.neck_channels) == ("resnet50", 24)


def test_bevdepths_backbone_stands_under_other_names(tmp_path):
    wanted = {"backbone.conv1.weight": torch.zeros(2, 3, 7, 7), "backbone.bn1.bias": torch.zeros(2)}
    state = {f"model.backbone.img_{name}": value + 1.0 for name, value in wanted.items()}
    save_file(state, tmp_path / "a.safetensors")
    file = read_published(tmp_path / "a.safetensors")
    found = cover(file.state, wanted, student_pairs(file, wanted))
    assert found.complete and all(value.eq(1).all() for value in found.made.values())
    with pytest.raises(DataError, match="no BEVDet or BEVDepth of a known layout: its tensors are called other"):
        student_pairs(PublishedFile(tmp_path, {"other": torch.zeros(1)}), wanted)
