"""Every recipe with a finer camera teacher fits it, and takes steps when both are made small."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import write_teacher

from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, save_weights
from kd_training.config.experiment import TrainConfig, load_config, load_student_config
from kd_training.distill.scale.cross_scale import CrossScale
from kd_training.loop.train import train
from kd_training.models.students import build_student
from kd_training.tasks.camera_lesson import camera_side

FOLDERS = ("config/training", "config/nuscenes")
RECIPES = [
    path
    for folder in FOLDERS
    for path in sorted(resource(folder).glob("cross_scale_*.yaml"))
    if load_config(path).cross_scale.teacher
]
LEVELS = {"cross_scale_bevdet_192_demo": (8, 16, 32)}  # strides of the student's levels; at ratio 2 the two finest
SMALL = (
    "model.grid.extent=12.8", "model.neck_channels=16", "model.context_channels=16", "model.bev_channels=16",
    "data.workers=0", "data.validation=[]", "loss.depth=0", "schedule.epochs=0", "schedule.steps=1",
    "schedule.batch=1", "schedule.total_batch=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


def halved(config: TrainConfig) -> TrainConfig:
    """Half the pixels each way, for teacher and student alike."""
    model = config.model
    return replace(
        config, model=replace(model, image_height=model.image_height // 2, image_width=model.image_width // 2)
    )


def small(recipe: Path, *changes: str) -> TrainConfig:
    backbone = ["model.backbone=resnet18"] if recipe.parent.name == "nuscenes" else []
    return halved(load_student_config(recipe, [*SMALL, *backbone, *changes]))


def test_there_are_recipes_of_both_ratios_with_two_teachers_and_for_nuscenes():
    assert [path.stem for path in RECIPES] == [
        "cross_scale_bevdet_192_demo", "cross_scale_bevdet_demo", "cross_scale_lidar_bevdet_demo", "cross_scale_bevdet",
    ]  # fmt: skip


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_fits_its_teacher_and_starts(path, data, tmp_path):
    config = load_student_config(path)
    taught = load_student_config(resource(config.cross_scale.teacher_recipe))
    with torch.device("meta"):
        sides = [camera_side(build_student(each.model), each.model.name) for each in (config, taught)]
        compared = CrossScale(config.cross_scale, *sides)
    assert tuple(level.match.student for level in compared.levels) == LEVELS.get(path.stem, (8, 16))
    fine, lidar = tmp_path / "fine.safetensors", tmp_path / "lidar.safetensors"
    teacher = small(resource(config.cross_scale.teacher_recipe))
    torch.manual_seed(0)
    save_weights(build_student(teacher.model).state_dict(), teacher, fine)
    changes = [f"data.roots=[{{root: {data}, version: {VERSION}}}]", f"cross_scale.teacher={fine}"]
    if config.distill.teacher:
        write_teacher(lidar, head_shared=config.model.head_shared, head_hidden=config.model.head_hidden)
        changes.append(f"distill.teacher={lidar}")
    assert train(small(path, *changes), tmp_path / "run")
    assert all(torch.isfinite(value).all() for value in load_file(tmp_path / "run" / WEIGHTS_FILE).values())
