"""The eight published pairs of teacher and student start: each recipe of config/nuscenes/, made small, takes steps.

KD_RECIPE_STEPS=10 takes ten of each.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.nuscenes_tables import IMAGE_SIZE, VERSION, write_dataset

from kd_perception.datasets.masks_and_depth import write_mask
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, save_weights
from kd_training.config.experiment import load_config
from kd_training.loop.train import train
from kd_training.models.teachers import build_teacher

RECIPES = sorted(resource("config/nuscenes").glob("*_to_*.yaml"))
STEPS = int(os.environ.get("KD_RECIPE_STEPS", "1"))
SMALL = (
    "model.backbone=resnet18", "model.image_height=64", "model.image_width=96", "model.grid.extent=12.8",
    "model.neck_channels=16", "model.context_channels=16", "model.bev_channels=16", "data.workers=0",
    "data.validation=[]", "schedule.epochs=0", f"schedule.steps={STEPS}", "schedule.batch=1", "schedule.total_batch=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Painted pictures, with masks in which nothing is seen."""
    root = write_dataset(tmp_path_factory.mktemp("painted"))
    for picture in (root / "samples").glob("CAM*/*.jpg"):
        mask = root / "masks" / picture.parent.name / f"{picture.stem}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        write_mask(mask, np.full(IMAGE_SIZE[::-1], -1), {})
    return root


@pytest.fixture(scope="module")
def teachers(tmp_path_factory) -> dict[str, Path]:
    """By recipe, weights of its teacher on the small grid, which has learnt nothing."""
    torch.manual_seed(0)
    written = {}
    for recipe in {load_config(path).distill.teacher_recipe for path in RECIPES}:
        config = load_config(resource(recipe))
        config = replace(config, teacher=replace(config.teacher, grid=replace(config.teacher.grid, extent=12.8)))
        written[recipe] = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
        save_weights(build_teacher(config.teacher).state_dict(), config, written[recipe])
    return written


def test_every_pair_has_a_recipe_with_its_teacher():
    students = ("bevdepth", "bevdet", "bevdet4d", "bevformer")
    assert [path.stem for path in RECIPES] == [f"{t}_to_{s}" for t in ("centerpoint", "mvp") for s in students]
    for path in RECIPES:
        distill = load_config(path).distill
        taught = load_config(resource(distill.teacher_recipe)).teacher
        assert distill.teacher == f"out/nuscenes/{taught.name}.safetensors"
        assert bool(taught.points.virtual.per_instance) == path.stem.startswith("mvp")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_starts(path, data, teachers, tmp_path):
    teacher = teachers[load_config(path).distill.teacher_recipe]
    changes = [f"data.roots=[{{root: {data}, version: {VERSION}}}]", f"distill.teacher={teacher}", *SMALL]
    if "former" in path.stem:
        changes.append("model.attention.layers=1")
    config = load_config(path, changes)
    assert train(config, tmp_path / "run")
    written = load_file(tmp_path / "run" / WEIGHTS_FILE)
    assert all(torch.isfinite(value).all() for value in written.values())
