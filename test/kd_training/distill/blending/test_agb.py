"""Automatic gradient blending: the length and the angle of what it blends, conflicts, guards, and that the size of a
distillation loss does not matter at all."""

import math

import numpy as np
import pytest
import torch
from support.blending import TOY_TERMS, Toy, alone, train

from kd_perception.errors import ConfigError
from kd_training.config.distill import BlendingConfig
from kd_training.distill.blending.agb import AutoBlending, RawWeights, TurnRule, raw_weights
from kd_training.distill.blending.gradients import SharedLayers

RULE = TurnRule(0.5, math.radians(60.0))


def blended(gradients: np.ndarray, raw: RawWeights) -> np.ndarray:
    return raw.task * gradients[0] + raw.terms @ gradients[1:]


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """Radians between two vectors, exact for small ones."""
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    return 2.0 * math.atan2(np.linalg.norm(first - second), np.linalg.norm(first + second))


def random_gradients(seed: int) -> np.ndarray:
    """The task's and one to four terms', of lengths from 1e-4 to 1e4, in few dimensions so that they conflict often."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(rng.integers(2, 6), rng.integers(2, 6)))
    return gradients * 10.0 ** rng.uniform(-4, 4, (len(gradients), 1))


@pytest.mark.parametrize("kappa", [0.15, 0.3, 0.5, 0.7])
def test_blend_is_as_long_as_the_tasks_gradient_and_within_the_angle(kappa):
    rule, conflicts = TurnRule(kappa, math.radians(40.0)), 0
    for seed in range(300):
        gradients = random_gradients(seed)
        raw = raw_weights(gradients @ gradients.T, rule)
        blend = blended(gradients, raw)
        assert np.linalg.norm(blend) == pytest.approx(np.linalg.norm(gradients[0]), rel=1e-5)
        assert angle(blend, gradients[0]) <= rule.theta_max + 1e-5
        assert blend @ gradients[0] > 0.0
        assert raw.task > 0.0 and (raw.terms >= 0.0).all()
        conflicts += raw.task > 1.0
    assert conflicts > 10


def test_turned_by_the_share_kappa_of_the_angle_to_the_mean_direction():
    task, first, second = np.array([2.0, 0.0, 0.0]), np.array([0.0, 50.0, 0.0]), np.array([0.1, 0.0, 0.0])
    gradients = np.stack([task, first, second])
    raw = raw_weights(gradients @ gradients.T, RULE)  # mean direction: 45 degrees from the task's
    expected = 2.0 * np.array([math.cos(math.pi / 8), math.sin(math.pi / 8), 0.0])
    np.testing.assert_allclose(blended(gradients, raw), expected, rtol=1e-12)


def test_equal_directions_keep_the_direction():
    gradients = np.array([[3.0, 4.0], [30.0, 40.0]])
    raw = raw_weights(gradients @ gradients.T, RULE)
    assert raw.task == pytest.approx(0.5) and raw.terms[0] == pytest.approx(0.05)


def test_the_conflicting_part_is_taken_out():
    gradients = np.array([[1.0, 0.0], [-3.0, 4.0]])  # 127 degrees apart
    raw = raw_weights(gradients @ gradients.T, RULE)
    np.testing.assert_allclose(blended(gradients, raw), [math.sqrt(0.5), math.sqrt(0.5)], rtol=1e-12)
    cosine, sine, phi = -0.6, 0.8, math.pi / 4
    assert raw.task == pytest.approx(math.cos(phi) - math.sin(phi) * cosine / sine)
    assert raw.terms[0] == pytest.approx(math.sin(phi) / (5.0 * sine))


def test_terms_that_only_contradict_the_task_are_left_out():
    gradients = np.array([[1.0, 0.0], [-5.0, 1e-4]])
    raw = raw_weights(gradients @ gradients.T, RULE)
    assert raw.task == 1.0 and raw.terms.tolist() == [0.0] and raw.known.all()


def test_of_two_opposed_terms_the_one_that_agrees_with_the_task_stays():
    gradients = np.array([[1.0, 0.5], [100.0, 1.0], [-1e-3, 0.0]])
    for factor in (1.0, 2.0**13, 2.0**-13):  # whichever is the longer
        scaled = gradients * [[1.0], [1.0], [factor]]
        raw = raw_weights(scaled @ scaled.T, RULE)
        assert raw.terms[0] > 0.0 and raw.terms[1] == 0.0
        blend = blended(scaled, raw)
        assert np.linalg.norm(blend) == pytest.approx(np.linalg.norm(gradients[0]), rel=1e-9)


def test_weights_never_blow_up():
    """However the terms oppose each other, no weighted term is longer than the task's gradient / 0.1 / sine."""
    for seed in range(300):
        gradients = random_gradients(seed)
        gradients[-1] = -gradients[1] + 1e-3 * gradients[0]
        raw = raw_weights(gradients @ gradients.T, RULE)
        longest = (raw.terms * np.linalg.norm(gradients[1:], axis=1)).max(initial=0.0)
        assert longest <= 10.0 / math.sqrt(1e-6) * np.linalg.norm(gradients[0])
        assert np.linalg.norm(blended(gradients, raw)) == pytest.approx(np.linalg.norm(gradients[0]), rel=1e-5)


def test_a_term_without_gradient_does_not_count():
    gradients = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    raw = raw_weights(gradients @ gradients.T, RULE)
    alone = raw_weights((gradients @ gradients.T)[np.ix_([0, 2], [0, 2])], RULE)
    assert raw.known.tolist() == [False, True]
    assert raw.terms.tolist() == [0.0, alone.terms[0]] and raw.task == alone.task


@pytest.mark.parametrize("bad", [np.diag([0.0, 1.0]), np.diag([1.0, np.nan]), np.diag([np.inf, 1.0])])
def test_no_answer_without_a_task_gradient_or_with_numbers_that_are_none(bad):
    assert raw_weights(bad, RULE) is None


def look(blending: AutoBlending, step: int, gradients: list[list[float]]) -> None:
    """One update with losses that have these gradients on the shared layer; a row of zeros is a loss without any."""
    shared = torch.nn.Parameter(torch.zeros(len(gradients[0])))
    task, *terms = ((shared * torch.tensor(row)).sum() for row in gradients)
    blending.update(step, task, dict(zip(blending.names, terms, strict=True)), SharedLayers([shared], alone))


def test_weights_are_averaged_in_log_space_and_held_between_looks():
    blending = AutoBlending(["a"], BlendingConfig(refresh=10, ema=0.9))
    assert blending.weights == (1.0, {"a": 0.0})  # before the first look
    look(blending, 0, [[1.0, 0.0], [0.0, 1.0]])
    first = blending.weights.terms["a"]
    assert first == pytest.approx(math.sin(math.pi / 4))
    look(blending, 5, [[1.0, 0.0], [0.0, 1e-4]])
    assert blending.weights.terms["a"] == first
    look(blending, 10, [[1.0, 0.0], [0.0, 1e-4]])
    logarithms = [math.log(first), math.log(1e4 * first)]
    assert math.log(blending.weights.terms["a"]) == pytest.approx(np.average(logarithms, weights=[0.9, 1.0]))
    look(blending, 20, [[1.0, 0.0], [0.0, 1.0]])
    logarithms.append(math.log(first))
    assert math.log(blending.weights.terms["a"]) == pytest.approx(np.average(logarithms, weights=[0.81, 0.9, 1.0]))


def test_a_batch_without_boxes_does_not_forget_a_terms_weight():
    blending = AutoBlending(["a", "b"], BlendingConfig(refresh=1))
    look(blending, 0, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    before = blending.weights.terms["b"]
    look(blending, 1, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert blending.weights.terms["b"] == before > 0.0
    kept = blending.weights
    look(blending, 2, [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # no task: all stays as it is
    assert blending.weights == kept


def test_figures_say_how_far_each_term_agrees_with_the_task():
    blending = AutoBlending(["a", "b", "c"], BlendingConfig())
    look(blending, 0, [[2.0, 0.0], [3.0, 4.0], [-1e-3, 0.0], [0.0, 0.0]])
    assert blending.figures == pytest.approx({"cosine/a": 0.6, "cosine/b": -1.0, "cosine/c": 0.0})


def test_a_contradiction_pauses_distillation_until_the_next_look():
    blending = AutoBlending(["a"], BlendingConfig(refresh=1))
    look(blending, 0, [[1.0, 0.0], [0.0, 1.0]])
    before = blending.weights.terms["a"]
    look(blending, 1, [[1.0, 0.0], [-1.0, 0.0]])
    assert blending.weights == (1.0, {"a": 0.0})
    look(blending, 2, [[1.0, 0.0], [0.0, 1.0]])
    assert blending.weights.terms["a"] == pytest.approx(before)


@pytest.mark.parametrize("exponent", [-13, -5, 1, 13])
@pytest.mark.parametrize("term", TOY_TERMS)
def test_multiplying_a_loss_does_not_change_the_trajectory(term, exponent):
    """Bit by bit, over many steps with looks, conflicts and averages among them."""
    plain, weights = train(Toy({}), AutoBlending(TOY_TERMS, BlendingConfig(refresh=3)), 40)
    scaled, others = train(Toy({term: 2.0**exponent}), AutoBlending(TOY_TERMS, BlendingConfig(refresh=3)), 40)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(plain, scaled, strict=True))
    assert weights.terms[term] == 2.0**exponent * others.terms[term] > 0.0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (BlendingConfig(kappa=1.0), "kappa is 1"),
        (BlendingConfig(theta_max=90.0), "theta_max is 90 degrees"),
        (BlendingConfig(refresh=0), "refresh is 0"),
        (BlendingConfig(ema=1.0), "ema is 1"),
    ],
)
def test_impossible_numbers_are_refused(config, words):
    with pytest.raises(ConfigError, match=words):
        AutoBlending(["a"], config)
