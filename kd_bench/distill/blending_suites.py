"""The suite `blending`: automatic gradient blending and its rivals, of two students and two sets of terms.

The fixed weights are a grid: the same factor for all terms of a set. Everything is trained and scored on the tuning
split. The grid's best is chosen by the scores that it is then compared by, which favours the grid.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kd_bench.distill.common_arms import ANSWERS, NONE, taught
from kd_bench.distill.splits import TUNED
from kd_bench.distill.suite import HALF, Arm, Suite
from kd_training.config.distill import BlendingConfig, BlendingMethod, DistillConfig, FeatureConfig

NAME = "blending"
BLEND_SEEDS = 2
FACTORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # the fixed grid
TERM_SETS: Mapping[str, DistillConfig] = {"answers": ANSWERS, "features": replace(ANSWERS, feature=FeatureConfig())}
AUTOMATIC = BlendingMethod.agb
RIVALS = tuple(method for method in BlendingMethod if method not in (BlendingMethod.fixed, AUTOMATIC))


def arm_name(terms: str, method: BlendingMethod) -> str:
    """Of a method without a grid, for a set of terms."""
    return f"{terms}_{method.value}"


def grid_names(terms: str) -> tuple[str, ...]:
    """Of the fixed weights for a set of terms."""
    return tuple(f"{arm_name(terms, BlendingMethod.fixed)}_{factor:g}" for factor in FACTORS)


def scaled(terms: DistillConfig, factor: float) -> DistillConfig:
    """The set with fixed weights that are `factor` times the configured ones."""
    return replace(
        terms,
        feature=replace(terms.feature, weight=factor * terms.feature.weight),
        response=replace(terms.response, heatmap=factor * terms.response.heatmap),
        blending=BlendingConfig(method=BlendingMethod.fixed),
    )


def _arms() -> Iterator[Arm]:
    yield replace(NONE, seeds=BLEND_SEEDS)
    for name, terms in TERM_SETS.items():
        for method in (AUTOMATIC, *RIVALS):
            blended = replace(terms, blending=BlendingConfig(method=method))
            yield taught(arm_name(name, method), blended, BLEND_SEEDS)
        for arm, factor in zip(grid_names(name), FACTORS, strict=True):
            yield taught(arm, scaled(terms, factor), BLEND_SEEDS)


BLENDINGS = tuple(
    Suite(NAME, f"Blending and its rivals, {student}", student, tuple(_arms()), NONE.name, split=TUNED, length=HALF)
    for student in ("bevdet4d", "bevdet")
)
