"""The suite `blending`: automatic gradient blending, its rivals, and a grid of fixed weights.

One student, one seed, and the set of terms in which weights matter most: the teacher's answers, and DistillBEV's
features, whose size depends on their layers. The fixed weights are the same factor for all terms. Everything is trained
and scored on the tuning split, in half the steps: two cores finish it in a night. The grid's best is chosen by the
scores that it is then compared by, which favours the grid.
"""

from collections.abc import Iterator
from dataclasses import replace

from kd_bench.distill.common_arms import ANSWERS, NONE, taught
from kd_bench.distill.splits import TUNED
from kd_bench.distill.suite import HALF, Arm, Suite
from kd_training.config.distill import BlendingConfig, BlendingMethod, FeatureConfig

BLEND_SEEDS = 1
FACTORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # the fixed grid
TERM_SET = replace(ANSWERS, feature=FeatureConfig())
AUTOMATIC = BlendingMethod.agb
RIVALS = tuple(method for method in BlendingMethod if method not in (BlendingMethod.fixed, AUTOMATIC))
GRID = tuple(f"{BlendingMethod.fixed.value}_{factor:g}" for factor in FACTORS)


def _arms() -> Iterator[Arm]:
    yield replace(NONE, seeds=BLEND_SEEDS)
    for method in (AUTOMATIC, *RIVALS):
        yield taught(method.value, replace(TERM_SET, blending=BlendingConfig(method=method)), BLEND_SEEDS)
    for name, factor in zip(GRID, FACTORS, strict=True):
        fixed = replace(
            TERM_SET,
            feature=replace(TERM_SET.feature, weight=factor * TERM_SET.feature.weight),
            response=replace(TERM_SET.response, heatmap=factor * TERM_SET.response.heatmap),
            blending=BlendingConfig(method=BlendingMethod.fixed),
        )
        yield taught(name, fixed, BLEND_SEEDS)


BLENDING = Suite("blending", "Blending and its rivals", "bevdet4d", tuple(_arms()), NONE.name, split=TUNED, length=HALF)
