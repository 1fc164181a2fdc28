"""Re-rendered traffic of given tables: the same tokens, poses and boxes, and streets that leave room for them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.real_data import real_data
from typer import Typer
from typer.testing import CliRunner

from kd_perception.datasets.masks_and_depth import read_depth, read_mask
from kd_perception.datasets.nuscenes import ego_pose, load_frame, open_nuscenes
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import DataError
from kd_perception.geometry.transforms import apply, invert, make_transform
from kd_synthetic.cli import synth
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.rendering.world import World
from kd_synthetic.rerender.rerender import RerenderConfig, rerender, rerendered_world
from kd_synthetic.rerender.source import read_scene


@pytest.fixture(scope="module")
def config(dataset: SynthConfig, tmp_path_factory: pytest.TempPathFactory) -> RerenderConfig:
    out = tmp_path_factory.mktemp("rerender") / "again"
    chosen = RerenderConfig(
        out, dataroot=dataset.out, version=SYNTHETIC_VERSION, width=176, height=64, jobs=1, masks=True, depth=True
    )
    rerender(chosen)
    return chosen


def table(folder: Path, name: str) -> dict[str, dict]:
    return {row["token"]: row for row in json.loads((folder / SYNTHETIC_VERSION / f"{name}.json").read_text())}


@pytest.mark.slow  # rendering
def test_tokens_poses_and_calibration_stay(config: RerenderConfig) -> None:
    for name in ("sample", "scene", "category", "attribute", "sensor", "log"):
        assert table(config.out, name) == table(config.dataroot, name)
    again, source = table(config.out, "sample_data"), table(config.dataroot, "sample_data")
    assert set(again) == {token for token, row in source.items() if row["is_key_frame"]}
    for token, row in again.items():
        assert (config.out / row["filename"]).is_file()
        assert {k: row[k] for k in ("timestamp", "filename", "sample_token")} == {
            k: source[token][k] for k in ("timestamp", "filename", "sample_token")
        }
    poses, before = table(config.out, "ego_pose"), table(config.dataroot, "ego_pose")
    assert all(before[token] == row for token, row in poses.items())
    assert table(config.out, "calibrated_sensor") == table(config.dataroot, "calibrated_sensor")  # same size, same K


def test_boxes_stay_and_are_seen_again(config: RerenderConfig) -> None:
    again, source = table(config.out, "sample_annotation"), table(config.dataroot, "sample_annotation")
    assert 0.75 * len(source) < len(again) and set(again) <= set(source)
    for token, row in again.items():
        for name in ("sample_token", "instance_token", "size", "attribute_tokens"):
            assert row[name] == source[token][name]
        np.testing.assert_allclose(row["translation"], source[token]["translation"], atol=1.1e-3)
        np.testing.assert_allclose(np.abs(np.dot(row["rotation"], source[token]["rotation"])), 1.0, atol=1e-9)
        assert row["visibility_token"] in ("1", "2", "3", "4")
    near = [
        (row["num_lidar_pts"], source[token]["num_lidar_pts"])
        for token, row in again.items()
        if source[token]["num_lidar_pts"] > 60
    ]
    ratio = np.array([after / before for after, before in near])
    assert len(ratio) > 10 and 0.6 < np.median(ratio) < 1.6  # other shapes of the same size at the same place


def test_the_devkit_follows_the_chains(config: RerenderConfig) -> None:
    nusc = open_nuscenes(config.out, SYNTHETIC_VERSION)
    for instance in nusc.instance:
        count, token = 0, instance["first_annotation_token"]
        while token:
            row = nusc.get("sample_annotation", token)
            count, token = count + 1, row["next"]
        assert count == instance["nbr_annotations"] and row["token"] == instance["last_annotation_token"]
    for sample in nusc.sample:
        assert len(load_frame(nusc, sample["token"]).images) == 6 and sample["anns"]


def lifted_outside(nusc, config: RerenderConfig, sample: dict) -> tuple[int, int]:
    """How many of the masks' pixels, lifted by the depth, lie in their boxes, and how many do not."""
    inside = outside = 0
    for image in load_frame(nusc, sample["token"]).images:
        data = nusc.get("sample_data", sample["data"][image.camera.name])
        mask, depth = read_mask(config.out, data["filename"]), read_depth(config.out, data["filename"])
        for token in mask.annotation_of.values():
            v, u = np.nonzero(mask.of(token))
            rays = image.camera.unproject(np.column_stack([u, v]) + 0.5)
            world = apply(ego_pose(nusc, data) @ image.camera.ego_from_camera, rays * depth[v, u, None])
            row = nusc.get("sample_annotation", token)
            box_from_world = invert(make_transform(np.array(row["rotation"]), np.array(row["translation"])))
            width, length, height = row["size"]
            local = np.abs(apply(box_from_world, world))
            within = (local < np.array((length, width, height)) / 2 + 0.1).all(1)
            inside, outside = inside + int(within.sum()), outside + int((~within).sum())
    return inside, outside


def test_masks_show_the_boxes(config: RerenderConfig) -> None:
    nusc = open_nuscenes(config.out, SYNTHETIC_VERSION)
    inside, outside = np.sum([lifted_outside(nusc, config, sample) for sample in nusc.sample], axis=0)
    assert inside > 3000 and outside < 0.01 * inside


def in_the_way(world: World) -> int:
    """Corners of scenery that stand in somebody's box, or where the ego drives."""
    points = world.scenery.mesh.vertices.reshape(-1, 3).astype(np.float64)
    points = points[(points[:, 2] > 0.2) & (points[:, 2] < 1.5)]
    found = 0
    places = [(motion.xy, motion.yaw, size) for motion, size in ((a.motion, a.size) for a in world.actors)]
    places.append((world.ego.xy, world.ego.yaw, (5.5, 2.4, 1.7)))
    for xy, yaw, (length, width, _) in places:
        for (x, y), angle in zip(xy, yaw, strict=True):
            delta = points[np.abs(points[:, 0] - x) < length, :2] - (x, y)
            along = delta @ (np.cos(angle), np.sin(angle))
            across = delta @ (-np.sin(angle), np.cos(angle))
            found += int(((np.abs(along) < length / 2) & (np.abs(across) < width / 2)).sum())
    return found


def test_nothing_stands_in_the_way(config: RerenderConfig) -> None:
    nusc = open_nuscenes(config.dataroot, SYNTHETIC_VERSION)
    for index in range(2):
        assert in_the_way(rerendered_world(config, read_scene(nusc, index, 176, 64), {})) == 0


def test_the_card_stands_beside_the_original(config: RerenderConfig) -> None:
    text = (config.out / "card.md").read_text()
    assert "| car | re-rendered |" in text and "| car | original |" in text
    card, source = (json.loads((folder / "card.json").read_text()) for folder in (config.out, config.dataroot))
    for name, stats in card["original"].items():
        assert stats["per_frame"] == source["classes"][name]["per_frame"]


def test_other_tables_or_looks_in_the_same_folder_are_refused(config: RerenderConfig) -> None:
    for other in ({"seed": 1}, {"depth": False}):
        with pytest.raises(DataError, match="other settings"):
            rerender(replace(config, **other))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rig", "moved"], "leave out --rig"),
        (["--scenes", "2", "--camera-hz", "2"], "leave out --scenes, --camera-hz"),  # given, though the default
        (["--version", "v9"], "no version 'v9'"),
        (["--light", "mixed"], "light of re-rendered scenes 'mixed' is not known; use one of day, dusk, night"),
    ],
)
def test_the_command_explains_wrong_input(
    dataset: SynthConfig, arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    app = Typer()
    app.command()(synth)
    tables = ["--tables", str(dataset.out), "--version", SYNTHETIC_VERSION]
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "x"), *tables, *arguments])
    assert result.exit_code != 0 and "Traceback" not in result.output
    assert sentence in " ".join(result.output.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.real_data
def test_a_real_keyframe_is_rendered_again(tmp_path: Path) -> None:
    source = real_data("nuscenes-real")
    config = RerenderConfig(
        tmp_path / "real", dataroot=source, version="v1.0-mini", width=352, height=128, jobs=1, masks=True, depth=True
    )
    rerender(config)
    nusc, original = open_nuscenes(config.out, "v1.0-mini"), open_nuscenes(source, "v1.0-mini")
    assert [row["token"] for row in nusc.sample] == [row["token"] for row in original.sample]
    assert len(nusc.sample_annotation) > 0.6 * len(original.sample_annotation)
    for row in nusc.sample_annotation:
        before = original.get("sample_annotation", row["token"])
        assert row["translation"][:2] == before["translation"][:2] and row["size"] == before["size"]
    inside, outside = lifted_outside(nusc, config, nusc.sample[0])
    assert inside > 1000 and outside < 0.02 * inside


@pytest.mark.real_data
def test_real_streets_leave_room_for_real_traffic() -> None:
    source = real_data("nuscenes-minival-gt")
    nusc = open_nuscenes(source, "v1.0-mini")
    config = RerenderConfig(Path("unused"), dataroot=source, version="v1.0-mini")
    for index in range(2):
        assert in_the_way(rerendered_world(config, read_scene(nusc, index, 704, 256), {})) == 0
