"""All terms of a student and a teacher: any subset of them, empty scenes, precision, adapters, gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.distillation import (
    GRID,
    STUDENT_CHANNELS,
    TEACHER_CHANNELS,
    box,
    make_ground_truth,
    random_boxes,
    random_outputs,
    side,
)

from kd_perception.geometry.boxes import Boxes
from kd_training.batches.processes import TrainingProcesses
from kd_training.config.distill import (
    AttentionConfig,
    DistillConfig,
    FeatureConfig,
    LayerPair,
    PearsonConfig,
    RelationConfig,
    ResponseConfig,
)
from kd_training.config.feature_terms import ChannelGroupsConfig, ObjectWeightsConfig, VolumeAttentionConfig
from kd_training.data.ground_truth import GroundTruth
from kd_training.distill.distiller import Distilled, Distiller
from kd_training.distill.terms.attention import energy

EVERYTHING = DistillConfig(
    pearson=PearsonConfig(weight=1.0),
    channel_groups=ChannelGroupsConfig(weight=1.0),
    volume_attention=VolumeAttentionConfig(weight=1.0),
    object_weights=ObjectWeightsConfig(weight=1.0),
    response=ResponseConfig(heatmap=1.0, boxes=0.5),
    relation=RelationConfig(weight=2.0),
)
UNNORMALISED = replace(EVERYTHING, pearson=PearsonConfig(), channel_groups=ChannelGroupsConfig())
LAYERS = ("half", "quarter", "pre_head")
LAYERED = ("feature", "attention", "pearson", "channel_groups", "volume_attention", "object_weights")
PRE_HEAD_ONLY = [LayerPair("pre_head", "pre_head")]
PEARSON_ONLY = DistillConfig(
    feature=FeatureConfig(weight=0.0), attention=AttentionConfig(0.0), pearson=PearsonConfig(weight=1.0)
)


def make_distiller(config: DistillConfig) -> Distiller:
    torch.manual_seed(0)
    return Distiller(config, side("student", STUDENT_CHANNELS), side("teacher", TEACHER_CHANNELS))


def distil(config: DistillConfig, truth: GroundTruth, teacher_seed: int = 1) -> Distilled:
    student = random_outputs(0, len(truth.boxes), STUDENT_CHANNELS, gradient=True)
    return make_distiller(config)(student, random_outputs(teacher_seed, len(truth.boxes), TEACHER_CHANNELS), truth)


def test_terms_have_the_names_announced_and_are_scalars():
    distiller = make_distiller(EVERYTHING)
    distilled = distil(EVERYTHING, make_ground_truth([random_boxes(0, 5), random_boxes(1, 2)]))
    layered = {f"{kind}/{layer}" for kind in LAYERED for layer in LAYERS}
    assert set(distilled.terms) == layered | {"response/heatmap", "response/boxes", "relation"}
    assert tuple(distilled.terms) == distiller.term_names
    assert all(value.shape == () and value.dtype == torch.float32 for value in distilled.terms.values())
    assert {name: value.item() > 0.0 for name, value in distilled.terms.items()} == dict.fromkeys(distilled.terms, True)
    rows, columns = GRID.shape
    cells = {name: float(value) for name, value in distilled.log.items()}
    assert set(cells) == {f"attention_cells/{layer}" for layer in LAYERS}
    assert 1.0 <= cells["attention_cells/quarter"] <= rows * columns / 4


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (DistillConfig(attention=AttentionConfig(0.0), layers=PRE_HEAD_ONLY), ("feature/pre_head",)),
        (DistillConfig(feature=FeatureConfig(weight=0.0), layers=PRE_HEAD_ONLY), ("attention/pre_head",)),
        (replace(PEARSON_ONLY, layers=PRE_HEAD_ONLY), ("pearson/pre_head",)),
        (DistillConfig(layers=[], relation=RelationConfig(weight=1.0)), ("relation",)),
        (
            replace(EVERYTHING, layers=[]),
            ("response/heatmap", "response/boxes", "relation"),
        ),
    ],
)
def test_any_subset_of_the_terms(config, names):
    assert tuple(distil(config, make_ground_truth([random_boxes(0, 5)])).terms) == names
    adapters = list(make_distiller(config).parameters())
    assert bool(adapters) == any(name.endswith("/pre_head") for name in names)


def test_a_terms_weight_multiplies_it():
    truth = make_ground_truth([random_boxes(0, 5)])
    heavy = replace(
        EVERYTHING, feature=FeatureConfig(weight=8.0), attention=AttentionConfig(8 * EVERYTHING.attention.weight),
        pearson=PearsonConfig(weight=8.0), channel_groups=ChannelGroupsConfig(weight=8.0),
        volume_attention=VolumeAttentionConfig(weight=8.0), object_weights=ObjectWeightsConfig(weight=8.0),
        response=ResponseConfig(heatmap=8.0, boxes=4.0),
        relation=RelationConfig(weight=16.0),
    )  # fmt: skip
    once, eight = distil(EVERYTHING, truth).terms, distil(heavy, truth).terms
    for name, value in once.items():
        assert eight[name].item() == 8.0 * value.item(), name


def test_every_term_reaches_the_student_and_only_it():
    student = random_outputs(0, 1, STUDENT_CHANNELS, gradient=True)
    teacher = random_outputs(1, 1, TEACHER_CHANNELS)
    distiller = make_distiller(EVERYTHING)
    terms = distiller(student, teacher, make_ground_truth([random_boxes(0, 5)])).terms
    sources = {layer: student.features[layer] for layer in LAYERS}
    sources |= {"heatmap": student.heatmap, "boxes": student.regression, "relation": student.features["pre_head"]}
    for name, value in terms.items():
        (slope,) = torch.autograd.grad(value, sources[name.split("/")[-1]], retain_graph=True)
        assert torch.isfinite(slope).all() and slope.abs().sum() > 0.0, name
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in distiller.parameters())


def test_plain_squared_error_is_what_is_left_when_all_is_off():
    plain = FeatureConfig(weight=1.0, regions=False, attention=False, scale=False, false_positives=False)
    config = DistillConfig(feature=plain, attention=AttentionConfig(0.0), layers=PRE_HEAD_ONLY)
    truth = make_ground_truth([random_boxes(0, 5), Boxes.empty()])
    student, teacher = random_outputs(0, 2, STUDENT_CHANNELS), random_outputs(1, 2, TEACHER_CHANNELS)
    distiller = make_distiller(config)
    adapted = distiller.adapters[0].convolution(student.features["pre_head"])
    expected = plain.foreground * (teacher.features["pre_head"] - adapted).square().sum() / 2
    torch.testing.assert_close(distiller(student, teacher, truth).terms["feature/pre_head"], expected)


def test_feature_loss_is_the_published_formula():
    """With everything on, cell by cell from alpha, beta, eta, S and A, on the layer before the head."""
    config = DistillConfig(layers=PRE_HEAD_ONLY)
    boxes = Boxes.concatenate([box(3.0, 2.0, 4.6, 1.9, 0.6), box(-6.0, -3.0, 9.0, 2.6, -2.0), box(-6.0, 3.0, 1.9, 1.3)])
    truth = make_ground_truth([boxes])
    student, teacher = random_outputs(0, 1, STUDENT_CHANNELS), random_outputs(1, 1, TEACHER_CHANNELS)
    distiller = make_distiller(config)
    ours, theirs = distiller.adapters[0].convolution(student.features["pre_head"]), teacher.features["pre_head"]
    strength = [energy(value)[0] / energy(value).mean() / 2.0 for value in (ours, theirs)]
    attention = sum(s.numel() * s.exp() / s.exp().sum() for s in strength) / 2.0
    inside = torch.zeros(GRID.shape)
    for index in range(len(boxes)):
        dx, dy = np.moveaxis(GRID.centers() - boxes.center[index, :2], -1, 0)
        along = abs(dx * np.cos(boxes.yaw[index]) + dy * np.sin(boxes.yaw[index]))
        across = abs(dy * np.cos(boxes.yaw[index]) - dx * np.sin(boxes.yaw[index]))
        covered = torch.from_numpy((along <= boxes.size[index, 0] / 2) & (across <= boxes.size[index, 1] / 2))
        assert covered.any()
        inside = torch.maximum(inside, covered * 0.8 / (boxes.size[index, 0] * boxes.size[index, 1]) ** 0.5)
    wrong = (torch.sigmoid(teacher.heatmap[0]).amax(0) > 0.1) & (truth.heatmap[0].amax(0) < 0.1) & (inside == 0)
    rest = (inside == 0) & ~wrong
    assert wrong.any() and rest.any()
    weight = 6e-3 * inside + 6e-3 * 10.0 * wrong / wrong.sum() + 4e-2 * rest / rest.sum()
    expected = (weight * attention * (theirs - ours)[0].square().sum(0)).sum()
    torch.testing.assert_close(distiller(student, teacher, truth).terms["feature/pre_head"], expected)


def test_false_positives_matter_before_the_head_only():
    truth = make_ground_truth([random_boxes(0, 5)])
    student, teacher = random_outputs(0, 1, STUDENT_CHANNELS), random_outputs(1, 1, TEACHER_CHANNELS)
    sure = teacher._replace(heatmap=teacher.heatmap + 2.0)
    never = teacher._replace(heatmap=teacher.heatmap - 20.0)  # a scene without false positives
    found = [make_distiller(DistillConfig())(student, answers, truth).terms for answers in (teacher, sure, never)]
    for name in ("feature/half", "feature/quarter", "attention/pre_head"):
        assert found[0][name] == found[1][name] == found[2][name]
    assert found[1]["feature/pre_head"] != found[0]["feature/pre_head"]
    assert torch.isfinite(found[2]["feature/pre_head"])


def test_a_batch_without_objects_is_legal():
    student = random_outputs(0, 2, STUDENT_CHANNELS, gradient=True)
    terms = make_distiller(EVERYTHING)(
        student, random_outputs(1, 2, TEACHER_CHANNELS), make_ground_truth([Boxes.empty(), Boxes.empty()])
    ).terms
    assert all(terms[name].item() == 0.0 for name in ("response/boxes", "relation", "object_weights/half"))
    assert terms["feature/half"].item() > 0.0
    sum(terms.values()).backward()
    assert all(torch.isfinite(value.grad).all() for value in student.features.values() if value.grad is not None)


def test_bfloat16_changes_adapters_only_a_little():
    truth = make_ground_truth([random_boxes(0, 5)])
    student, teacher = random_outputs(0, 1, STUDENT_CHANNELS), random_outputs(1, 1, TEACHER_CHANNELS)
    distiller = make_distiller(EVERYTHING).eval()
    exact = distiller(student, teacher, truth).terms
    with torch.autocast("cpu", torch.bfloat16):
        rough = distiller(student, teacher, truth).terms
    for name, value in exact.items():
        assert rough[name].dtype == torch.float32
        assert rough[name].item() == pytest.approx(value.item(), rel=0.02), name
    assert rough["relation"] == exact["relation"] and rough["response/heatmap"] == exact["response/heatmap"]


def test_counts_of_objects_are_those_of_all_processes():
    """Two processes with a rig each: the mean of their terms is the term of one process with both rigs."""
    own = {"pearson": PearsonConfig(), "object_weights": ObjectWeightsConfig()}  # whose statistics are a process's own
    config = replace(EVERYTHING, layers=PRE_HEAD_ONLY, **own)
    truth = make_ground_truth([random_boxes(0, 5), random_boxes(1, 2)])
    student, teacher = random_outputs(0, 2, STUDENT_CHANNELS), random_outputs(1, 2, TEACHER_CHANNELS)
    distiller = make_distiller(config)
    together = distiller(student, teacher, truth).terms
    counts = iter([[3.5] * 2] * 2)  # objects per rig, on average
    groups = torch.bincount(truth.objects.group, minlength=6) / 2.0
    processes = TrainingProcesses(2, lambda count: groups if count.ndim else torch.tensor(next(counts)[0]))
    apart = [
        distiller(_rig(student, rig), _rig(teacher, rig), make_ground_truth([truth.boxes[rig]]), processes).terms
        for rig in range(2)
    ]
    for name, value in together.items():
        assert (apart[0][name] + apart[1][name]).item() / 2.0 == pytest.approx(value.item(), rel=1e-4), name


def _rig(outputs, rig: int):
    one = slice(rig, rig + 1)
    return outputs._replace(
        heatmap=outputs.heatmap[one],
        regression=outputs.regression[one],
        features={name: value[one] for name, value in outputs.features.items()},
    )


@pytest.mark.parametrize("config", [UNNORMALISED, PEARSON_ONLY])
def test_imitation_can_be_learnt(config):
    """The student's features and the adapters, left to the terms alone, come to imitate the teacher."""
    student = random_outputs(0, 1, STUDENT_CHANNELS, gradient=True)
    teacher, truth = random_outputs(1, 1, TEACHER_CHANNELS), make_ground_truth([random_boxes(0, 5)])
    distiller = make_distiller(config)
    leaves = [student.heatmap, student.regression, *(student.features[layer] for layer in LAYERS)]
    optimizer = torch.optim.Adam([*leaves, *distiller.parameters()], lr=0.05)
    first = {}
    for _ in range(60):
        terms = distiller(student, teacher, truth).terms
        first = first or {name: value.item() for name, value in terms.items()}
        sum(terms.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, value in terms.items():
        assert value.item() < 0.6 * first[name], name
