"""Blending next to a fixed grid: gains over the best weight, the cost of tuning; and steps to the baseline's mAP."""

import pytest
from support.ledger import record

from kd_bench.distill.blending_suites import BLENDINGS, FACTORS, RIVALS, TERM_SETS, arm_name, grid_names, scaled
from kd_bench.distill.comparison import comparisons
from kd_bench.distill.convergence import convergence_aim, steps_needed
from kd_bench.distill.terms_suite import SHORT, TERMS, TRIPLE, TRIPLE_SHORT
from kd_bench.distill.tuning import Tuned, tuned_sets, tuning_aims, tuning_table
from kd_training.config.distill import BlendingMethod

AGB = BlendingMethod.agb


def line(arm: str, mean_ap: float, seed: int = 100, seconds: float = 100.0, student: str = "bevdet4d"):
    return record(
        arm, seed, mean_ap, suite="blending", split="tune", seconds=seconds, student=student, protocol=student
    )


def grid(terms: str, best: float, **changes) -> list:
    """Runs of all fixed weights, of which the fourth is the best."""
    return [
        line(name, best - 0.01 * abs(index - 3), seconds=90.0 + 10.0 * (index % 3), **changes)
        for index, name in enumerate(grid_names(terms))
    ]


def test_a_student_has_every_method_and_the_grid_for_both_sets():
    assert {suite.student for suite in BLENDINGS} == {"bevdet", "bevdet4d"} and len(TERM_SETS) == 2
    assert {AGB, *RIVALS, BlendingMethod.fixed} == set(BlendingMethod) and len(FACTORS) == 7
    arm = BLENDINGS[0].arm("features_fixed_0.1")
    assert arm.distill.feature.weight == pytest.approx(0.1) and arm.distill.response.heatmap == pytest.approx(0.1)
    assert arm.distill == scaled(TERM_SETS["features"], 0.1)
    assert arm.distill.blending.method is BlendingMethod.fixed and BLENDINGS[0].arm("none").seeds == arm.seeds == 2


def test_the_grids_tuning_is_all_its_runs_but_one_and_a_methods_what_it_takes_longer():
    runs = [line("none", 0.2), line(arm_name("answers", AGB), 0.31, seconds=105.0), *grid("answers", 0.30)]
    (compared,) = comparisons(BLENDINGS[0], runs)
    tuned = Tuned(compared, "answers")
    assert tuned.best == grid_names("answers")[3]
    assert tuned.gain(AGB).mean == pytest.approx(0.01)
    whole = [90.0 + 10.0 * (index % 3) for index in range(7)]
    plain = sum(whole) / 7
    assert tuned.cost(AGB) == pytest.approx((105.0 - plain) / (6 * plain))
    table = tuning_table(compared)
    assert f"| answers | agb | {tuned.best} | +1.0 | 1.1 % |" in table and "features" not in table
    assert Tuned(comparisons(BLENDINGS[0], runs[:-1])[0], "answers").best == ""  # a weight has no run yet
    assert Tuned(compared, "features").cost(AGB) is None and not tuning_table(comparisons(BLENDINGS[0], runs[:1])[0])


def test_aims_of_blending_are_open_without_runs_and_judge_every_pair():
    assert [aim.verdict for aim in tuning_aims([])] == ["open"] * 3
    runs = []
    for student, gain in (("bevdet4d", 0.010), ("bevdet", 0.012)):
        runs += [line("none", 0.2, student=student), *grid("answers", 0.30, student=student)]
        runs += [line(arm_name("answers", AGB), 0.30 + gain, seconds=110.0, student=student)]
        runs += [line(arm_name("answers", RIVALS[0]), 0.29, student=student)]
    assert [tuned.terms for tuned in tuned_sets(runs)] == ["answers", "features"] * 2
    good, cheap, better = tuning_aims(runs)
    assert (good.verdict, cheap.verdict, better.verdict) == ("reached",) * 3
    assert "+1.1" in good.figures and better.figures == "4 of 4" and "2 pairs" in cheap.figures
    dear = [*runs[:-2], line(arm_name("answers", AGB), 0.2, seconds=300.0, student="bevdet")]
    assert tuning_aims(dear)[1].verdict == "NOT reached"


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
