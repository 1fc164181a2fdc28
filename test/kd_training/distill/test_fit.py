"""A teacher and a student that do not fit are refused with a sentence; a head that fits is inherited."""

from dataclasses import replace

import pytest
import torch
from support.distillation import GRID, STUDENT_CHANNELS, TEACHER_CHANNELS, side

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import ClassList, HeadGroup
from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import (
    AttentionConfig,
    CrossHeadConfig,
    DistillConfig,
    FeatureConfig,
    LabelFeatureConfig,
    LayerPair,
    RayContrastConfig,
    RelationConfig,
    ResponseConfig,
)
from kd_training.config.feature_terms import ChannelGroupsConfig, ObjectWeightsConfig, VolumeAttentionConfig
from kd_training.distill.fit import check_fit
from kd_training.distill.head import inherit_head

STUDENT, TEACHER = side("student s", STUDENT_CHANNELS), side("teacher t", TEACHER_CHANNELS)


def refusal(config: DistillConfig = DistillConfig(), student=STUDENT, teacher=TEACHER) -> str:  # noqa: B008
    with pytest.raises(ConfigError) as caught:
        check_fit(config, student, teacher)
    return str(caught.value)


def test_what_fits_is_accepted():
    check_fit(DistillConfig(), STUDENT, TEACHER)


def test_ranges_and_cells():
    wide = replace(GRID, x_min=-25.6, x_max=25.6)
    assert "x -12.8 to 12.8, y -9.6 to 9.6 m" in refusal(teacher=TEACHER._replace(grid=wide))
    fine = BevGrid(GRID.x_min, GRID.x_max, GRID.y_min, GRID.y_max, 0.4)
    assert "student s has cells of 0.8 m, but teacher t of 0.4 m" in refusal(teacher=TEACHER._replace(grid=fine))


def test_classes_in_order():
    first, second, *others = TEACHER.classes.groups
    swapped, one_group = ClassList((second, first, *others)), ClassList((HeadGroup(1.0, TEACHER.classes.classes),))
    for classes in (swapped, one_group):
        assert "in the same order and groups" in refusal(teacher=TEACHER._replace(classes=classes))


def test_layers_are_named_with_the_nearest():
    config = DistillConfig(layers=[LayerPair("pre_head", "pre_head"), LayerPair("hlaf", "block1")])
    assert refusal(config).startswith("distill.layers.1.student: student s has no layer 'hlaf'")
    assert refusal(config).endswith("did you mean 'half'?")
    config = DistillConfig(relation=RelationConfig(weight=1.0, layer=LayerPair("pre_head", "block3")))
    assert refusal(config).startswith("distill.relation.layer.teacher: teacher t has no layer 'block3'")
    config = DistillConfig(layers=[LayerPair("half", "block1"), LayerPair("half", "block2")])
    assert "'half' twice" in refusal(config)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (DistillConfig(feature=FeatureConfig(weight=-1.0)), "distill.feature.weight is -1"),
        (DistillConfig(response=ResponseConfig(boxes=float("nan"))), "distill.response.boxes is nan"),
        (DistillConfig(feature=FeatureConfig(0.0), attention=AttentionConfig(0.0)), "switches every term off"),
        (DistillConfig(layers=[]), "switches every term off"),
        (DistillConfig(feature=FeatureConfig(regions=False)), "need distill.feature.regions"),
        (DistillConfig(feature=FeatureConfig(temperature=0.0)), "temperature is 0"),
        (DistillConfig(relation=RelationConfig(points=1)), "points is 1"),
        (DistillConfig(channel_groups=ChannelGroupsConfig(weight=1.0, groups=3)), "block1 has 4 channels"),
        (DistillConfig(object_weights=ObjectWeightsConfig(spread=0.0)), "distill.object_weights.spread is 0"),
        (DistillConfig(volume_attention=VolumeAttentionConfig(-1.0)), "distill.volume_attention.weight is -1"),
        (DistillConfig(cross_head=CrossHeadConfig(weight=-2.0)), "distill.cross_head.weight is -2"),
        (
            DistillConfig(ray_contrast=RayContrastConfig(weight=1.0, temperature=0.0)),
            "contrast.temperature is 0",
        ),
        (DistillConfig(labels=LabelFeatureConfig(lidar=0.3, layers=[])), "distill.labels has a weight but no layers"),
        (
            DistillConfig(labels=LabelFeatureConfig(weight=0.3, layers=[LayerPair("pre_head", "pre_head")])),
            "distill.labels.layers.0.teacher is pre_head, but label features stand in for the teacher's backbone",
        ),
        (
            DistillConfig(labels=LabelFeatureConfig(lidar=0.3, layers=[LayerPair("half", "block9")])),
            "distill.labels.layers.0.teacher: teacher t has no layer 'block9'",
        ),
    ],
)
def test_impossible_terms(config, words):
    assert words in refusal(config)


def test_heads_of_other_sizes_cannot_be_inherited():
    narrow = side("teacher t", TEACHER_CHANNELS, shared=16, hidden=4)
    assert "student s (head_shared and head_hidden 8 and 4) cannot start as those of teacher t (16 and 4)" in refusal(
        teacher=narrow
    )
    check_fit(DistillConfig(inherit_head=False), STUDENT, narrow)


def test_an_inherited_head_predicts_as_the_teachers_behind_the_shared_block():
    torch.manual_seed(0)
    student, teacher = side("s", STUDENT_CHANNELS).head, side("t", TEACHER_CHANNELS).head
    teacher(torch.randn(4, 12, 6, 6))  # norm statistics are inherited, too
    shared = {name: value.clone() for name, value in student.shared.state_dict().items()}
    inherit_head(student, teacher)
    assert all(torch.equal(value, shared[name]) for name, value in student.shared.state_dict().items())
    student.eval(), teacher.eval()
    features = torch.randn(1, 8, 6, 6)
    student.shared, teacher.shared = torch.nn.Identity(), torch.nn.Identity()
    for ours, theirs in zip(student(features), teacher(features), strict=True):
        assert torch.equal(ours, theirs)
    with torch.no_grad():
        student.heatmap[0][-1].bias += 1.0  # a copy: training the student leaves the teacher alone
    assert not torch.equal(student(features)[0], teacher(features)[0])
