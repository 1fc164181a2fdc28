"""Blending next to a fixed grid: gains over the best weight, the cost of tuning; and steps to the baseline's mAP."""

import pytest
from support.ledger import record

from kd_bench.distill.blending_suite import BLENDING, FACTORS, GRID, RIVALS, TERM_SET
from kd_bench.distill.comparison import comparisons
from kd_bench.distill.convergence import convergence_aim, steps_needed
from kd_bench.distill.suite import whole
from kd_bench.distill.terms_suite import SHORT, TERMS, TRIPLE, TRIPLE_SHORT
from kd_bench.distill.tuning import Tuned, tuning_aims, tuning_table
from kd_training.config.distill import BlendingMethod

AGB = BlendingMethod.agb


def line(arm: str, mean_ap: float, seconds: float = 100.0):
    return record(arm, 100, mean_ap, suite="blending", split="tune", seconds=seconds)


def grid(best: float) -> list:
    """Runs of all fixed weights, of which the fourth is the best."""
    return [
        line(name, best - 0.01 * abs(index - 3), seconds=90.0 + 10.0 * (index % 3)) for index, name in enumerate(GRID)
    ]


def test_every_method_and_the_grid_stand_in_fourteen_runs_of_which_one_is_a_run_of_terms():
    assert {AGB, *RIVALS, BlendingMethod.fixed} == set(BlendingMethod) and len(FACTORS) == 7
    assert len(list(whole(BLENDING).pieces())) == 14
    arm = BLENDING.arm("fixed_0.1")
    assert arm.distill.feature.weight == pytest.approx(0.1) and arm.distill.response.heatmap == pytest.approx(0.1)
    assert arm.distill.blending.method is BlendingMethod.fixed
    assert BLENDING.arm("fixed_1").distill.feature == TERM_SET.feature
    shared = TERMS.arm("distillbev_features")
    assert BLENDING.arm(AGB.value).distill == shared.distill
    assert [getattr(BLENDING, name) for name in ("student", "start", "split", "length")] == [
        getattr(TERMS, name) for name in ("student", "start", "split", "length")
    ]


def test_the_grids_tuning_is_all_its_runs_but_one_and_a_methods_what_it_takes_longer():
    runs = [line("none", 0.2), line(AGB.value, 0.31, seconds=105.0), *grid(0.30)]
    (compared,) = comparisons(BLENDING, runs)
    tuned = Tuned(compared)
    assert tuned.best == GRID[3]
    assert tuned.gain(AGB).mean == pytest.approx(0.01)
    whole_grid = [90.0 + 10.0 * (index % 3) for index in range(7)]
    plain = sum(whole_grid) / 7
    assert tuned.cost(AGB) == pytest.approx((105.0 - plain) / (6 * plain))
    table = tuning_table(compared)
    assert f"| agb | {tuned.best} | +1.0 | 1.1 % |" in table and "pcgrad" not in table
    assert Tuned(comparisons(BLENDING, runs[:-1])[0]).best == ""  # a weight has no run yet
    first = comparisons(BLENDING, runs[:1])[0]
    assert Tuned(first).cost(AGB) is None and not tuning_table(first)


def test_aims_of_blending_are_open_without_runs_and_judge_what_is_there():
    assert [aim.verdict for aim in tuning_aims([])] == ["open"] * 3
    runs = [line("none", 0.2), *grid(0.30), line(RIVALS[0].value, 0.29)]
    assert [aim.verdict for aim in tuning_aims(runs)] == ["open"] * 3
    good, cheap, better = tuning_aims([*runs, line(AGB.value, 0.311, seconds=110.0)])
    assert (good.verdict, cheap.verdict, better.verdict) == ("reached",) * 3
    assert "+1.1" in good.figures and better.figures == "2 of 2"
    aims = tuning_aims([*runs, line(AGB.value, 0.299, seconds=300.0)])
    assert [aim.verdict for aim in aims] == ["open", "NOT reached", "NOT reached"]  # of one seed below says nothing


@pytest.mark.parametrize(
    ("short", "whole", "plain", "verdict", "text"),
    [
        (0.31, 0.33, 0.28, "reached", "at most 0.7"),
        (0.28, 0.32, 0.28, "NOT reached", "0.85"),
        (0.27, 0.29, 0.28, "NOT reached", "more than 1"),
        (0.31, 0.33, 0.30, "open", "the plain loss: at most 0.7"),  # the baseline itself needs no more
    ],
)
def test_steps_to_the_baselines_map(short, whole, plain, verdict, text):
    def terms(arm: str, mean_ap: float):
        return record(arm, 100, mean_ap, suite="terms", split="tune")

    runs = [terms("answers", 0.30), terms(SHORT.name, plain), terms(TRIPLE.name, whole)]
    assert steps_needed(comparisons(TERMS, runs)[0], TRIPLE_SHORT, TRIPLE.name) is None
    aim = convergence_aim([*runs, terms(TRIPLE_SHORT.name, short)])
    assert aim.verdict == verdict and text in aim.figures
    assert convergence_aim(runs).verdict == "open"
