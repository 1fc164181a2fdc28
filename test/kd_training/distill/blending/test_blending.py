"""What all methods of blending have in common, and each rival on cases with a known answer."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.blending import TOY_TERMS, Toy, alone, samples_of, train
from support.checkout import ROOT

from kd_training.config.distill import BlendingConfig, BlendingMethod
from kd_training.distill.blending import build_blending
from kd_training.distill.blending.by_gradients import cagrad, mgda, pcgrad
from kd_training.distill.blending.gradients import SharedLayers

EVERY = pytest.mark.parametrize("method", list(BlendingMethod), ids=lambda method: method.value)


def build(method: BlendingMethod, terms: tuple[str, ...] = TOY_TERMS):
    return build_blending(BlendingConfig(method=method, refresh=3), terms)


def products(*gradients: list[float]) -> np.ndarray:
    return np.array(gradients) @ np.array(gradients).T


@EVERY
def test_a_resumed_run_continues_bit_by_bit(method, tmp_path):
    whole, weights = train(Toy({}), build(method), 20)
    toy, blending = Toy({}), build(method)
    train(toy, blending, 10)
    torch.save({"toy": toy.state_dict(), "blending": blending.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    toy, blending = Toy({}), build(method)
    toy.load_state_dict(state["toy"])
    blending.load_state_dict(state["blending"])
    resumed, others = train(toy, blending, 20, first=10)
    assert others == weights
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(whole, resumed, strict=True))


@EVERY
def test_looking_at_the_gradients_leaves_none_behind(method):
    toy, blending = Toy({}), build(method)
    task, terms = toy.losses(samples_of(0))
    blending.update(0, task, terms, SharedLayers(list(toy.shared.parameters()), alone))
    assert all(parameter.grad is None for parameter in toy.parameters())
    blending.weights.total(task, terms).backward()  # the graph is still there
    expected = sum(
        (weight * value for weight, value in zip(blending.weights.terms.values(), terms.values(), strict=True)),
        start=blending.weights.task * task,
    )
    assert blending.weights.total(task, terms).item() == pytest.approx(expected.item())
    assert all(torch.isfinite(parameter.grad).all() for parameter in toy.parameters())


@EVERY
def test_losses_without_gradients_are_legal(method):
    toy, blending = Toy({}), build(method)
    nothing = {name: torch.zeros(()) for name in TOY_TERMS}
    for step in range(3):
        task, _ = toy.losses(samples_of(step))
        blending.update(step, task, nothing, SharedLayers(list(toy.shared.parameters()), alone))
        assert blending.weights.task > 0.0
        assert all(math.isfinite(weight) for weight in blending.weights.terms.values())


def test_two_processes_are_one(tmp_path):
    """Half of each batch in each of two gloo processes: the weights and the trajectory of one process."""
    root = ROOT
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'test'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "support.blend_in_processes", str(tmp_path)]
    both = [subprocess.Popen([*command, str(rank), "2", "12"], env=environment) for rank in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    results = torch.load(tmp_path / "result.pt", weights_only=True)
    for method in BlendingMethod:
        alone, weights = train(Toy({}), build(method), 12)
        parameters, values = results[method.value]
        assert values == pytest.approx([weights.task, *weights.terms.values()], rel=1e-3), method
        for ours, theirs in zip(alone, parameters, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_gradients_are_averaged_before_they_are_multiplied():
    shared = torch.nn.Parameter(torch.zeros(2))
    task, term = 2.0 * shared[0], 3.0 * shared[1]
    other = torch.tensor([[-1.0, 4.0], [1.0, -1.0]])  # the other process's gradients
    found = SharedLayers([shared], lambda mine: (mine + other) / 2.0).products(task, [term])
    mean = np.array([[0.5, 2.0], [0.5, 1.0]])
    np.testing.assert_allclose(found, mean @ mean.T)


def test_a_shared_layer_that_a_loss_does_not_reach_counts_as_zero():
    first, second = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    found = SharedLayers([first, second], alone).products(first.sum() + second.sum(), [second.sum()])
    np.testing.assert_allclose(found, [[5.0, 3.0], [3.0, 3.0]])


def test_pcgrad_adds_what_agrees_and_takes_conflicts_out():
    assert pcgrad(products([1.0, 0.0], [1.0, 1.0]), 0).tolist() == [1.0, 1.0]
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0]])
    # Each loses its part along the other: (1, 0) becomes (0.5, 0.5), (-1, 1) becomes (0, 1).
    np.testing.assert_allclose(pcgrad(products(*gradients), 0) @ gradients, [0.5, 1.5])


def test_pcgrad_projects_as_published_for_several_terms():
    """Against vectors that are projected one after the other, in the same random order."""
    gradients = np.random.default_rng(3).normal(size=(4, 3))
    order, expected = np.random.default_rng(7), np.zeros(3)
    for i in range(4):
        vector = gradients[i].copy()
        for j in order.permutation(4):
            if j != i and vector @ gradients[j] < 0.0:
                vector -= vector @ gradients[j] / (gradients[j] @ gradients[j]) * gradients[j]
        expected += vector
    np.testing.assert_allclose(pcgrad(products(*gradients), 7) @ gradients, expected)
    assert np.linalg.norm(expected - gradients.sum(axis=0)) > 0.1


def test_mgda_is_the_shortest_mixture():
    gradients = np.array([[4.0, 0.0], [0.0, 1.0], [0.0, 1.0]])  # the terms together: (0, 2)
    weights = mgda(products(*gradients), 0)
    np.testing.assert_allclose(weights, [0.2, 0.8, 0.8])
    mixtures = [share * gradients[0] + (1 - share) * np.array([0.0, 2.0]) for share in np.linspace(0, 1, 101)]
    assert np.linalg.norm(weights @ gradients) <= min(np.linalg.norm(mixture) for mixture in mixtures) + 1e-12
    assert mgda(products([1.0, 0.0], [3.0, 0.1]), 0).tolist() == [1.0, 0.0]  # one is shorter and within the other


def test_cagrad_helps_the_worse_objective_within_its_ball():
    gradients = np.array([[1.0, 0.0], [-4.0, 1.0]])  # the mean gradient harms the task
    mean = gradients.mean(axis=0)
    blend = cagrad(products(*gradients), 0) @ gradients / 2.0
    assert np.linalg.norm(blend - mean) == pytest.approx(0.5 * np.linalg.norm(mean), rel=1e-6)
    assert mean @ gradients[0] < 0.0 and blend @ gradients[0] > mean @ gradients[0]
    ring = [mean + 0.5 * np.linalg.norm(mean) * np.array([math.cos(t), math.sin(t)]) for t in np.linspace(0, 6.3, 2000)]
    best = max(min(gradients @ point) for point in ring)
    assert min(gradients @ blend) == pytest.approx(best, rel=1e-4)


def test_two_vectors_by_hand():
    """At right angles the shortest mixture is the middle, and CAGrad lengthens the mean by its radius, a half. Of two
    opposed ones nothing is left: their mean has no length, and so has the ball around it."""
    right, opposed = products([1.0, 0.0], [0.0, 1.0]), products([1.0, 0.0], [-1.0, 0.0])
    np.testing.assert_allclose(mgda(right, 0), [0.5, 0.5])
    np.testing.assert_allclose(cagrad(right, 0), [1.5, 1.5], rtol=1e-6)
    np.testing.assert_allclose(pcgrad(right, 0), [1.0, 1.0])
    np.testing.assert_allclose(mgda(opposed, 0), [0.5, 0.5])
    np.testing.assert_allclose(cagrad(opposed, 0), [1.0, 1.0])
    np.testing.assert_allclose(pcgrad(opposed, 0) @ np.array([[1.0, 0.0], [-1.0, 0.0]]), [0.0, 0.0])


@pytest.mark.parametrize("rule", [mgda, cagrad])
@pytest.mark.parametrize("gradients", [([0.0, 0.0], [3.0, 4.0]), ([3.0, 4.0], [0.0, 0.0])])
def test_an_objective_without_a_gradient_gets_no_factor_of_its_own(rule, gradients):
    """CAGrad divides by its length, and the factor holds for the layers behind the shared ones as well."""
    assert rule(products(*gradients), 0).tolist() == [1.0, 1.0]


def test_gradnorm_follows_the_published_formula_for_a_step():
    """G = w |g|; target = mean G times the relative rate to the power of alpha; Adam's first step is its rate long."""
    blending = build(BlendingMethod.gradnorm, ("a",))
    shared = torch.nn.Parameter(torch.ones(1))
    layers = SharedLayers([shared], alone)
    blending.first[:] = torch.tensor([4.0, 4.0])  # the task is at a half of its first loss, the term at a quarter
    blending.update(0, 2.0 * shared.sum(), {"a": 1.0 * shared.sum()}, layers)
    rates = np.array([0.5, 0.25]) / 0.375
    targets = 1.5 * rates**1.5
    moves = -0.025 * np.sign(np.array([2.0, 1.0]) - targets)
    wanted = (1.0 + moves) * 2.0 / (2.0 + moves.sum())
    assert moves[0] != 0.0 and targets[0] > 2.0 > 1.0 > targets[1]
    assert [blending.weights.task, blending.weights.terms["a"]] == pytest.approx(wanted.tolist(), rel=1e-4)
    before = blending.weights
    blending.update(1, shared.sum().sqrt() * float("inf"), {"a": shared.sum()}, layers)
    assert blending.weights == before and torch.isfinite(blending.learnt).all()


def test_uncertainty_weighting_follows_the_published_formula_for_a_step():
    """exp(-s) L / 2 + s / 2: from s = 0 the loss above 1 gets less weight than a half, the one below gets more."""
    blending = build(BlendingMethod.uncertainty, ("a",))
    shared = torch.nn.Parameter(torch.ones(1))
    blending.update(0, 3.0 * shared.sum(), {"a": 0.5 * shared.sum()}, SharedLayers([shared], alone))
    expected = [math.exp(-0.01) / 2.0, math.exp(0.01) / 2.0]  # Adam's first step is its rate long
    assert [blending.weights.task, blending.weights.terms["a"]] == pytest.approx(expected, rel=1e-5)


def test_uncertainty_weighting_comes_to_rest_at_half_the_inverse_loss():
    blending = build(BlendingMethod.uncertainty, ("a",))
    shared = torch.nn.Parameter(torch.ones(1))
    for step in range(600):
        blending.update(step, 2.0 * shared.sum(), {"a": 0.5 * shared.sum()}, SharedLayers([shared], alone))
    assert blending.weights.task == pytest.approx(0.25, rel=1e-2)
    assert blending.weights.terms["a"] == pytest.approx(1.0, rel=1e-2)


def test_gradnorm_makes_the_gradients_alike():
    blending = build(BlendingMethod.gradnorm, ("a",))
    shared = torch.nn.Parameter(torch.ones(1))
    for step in range(400):
        blending.update(step, 3.0 * shared.sum(), {"a": 1.0 * shared.sum()}, SharedLayers([shared], alone))
    assert 3.0 * blending.weights.task == pytest.approx(blending.weights.terms["a"], rel=0.1)
    assert blending.weights.task + blending.weights.terms["a"] == pytest.approx(2.0)


def test_fixed_weights_stay():
    blending = build(BlendingMethod.fixed)
    train(Toy({}), blending, 3)
    assert blending.weights == (1.0, dict.fromkeys(TOY_TERMS, 1.0))
