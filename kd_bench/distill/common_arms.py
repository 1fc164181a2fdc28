"""Arms that several suites have, and what others are made of: the teacher's answers, the switched-off parts."""

from dataclasses import replace

from kd_bench.distill.suite import TWO_THIRDS, Arm
from kd_training.config.distill import (
    AttentionConfig,
    BlendingConfig,
    DistillConfig,
    FeatureConfig,
    ResponseConfig,
)

TENTH = 10  # every tenth scene is labelled
CENTERPOINT, CENTERPOINT_TENTH = "centerpoint", "centerpoint_tenth"
TEACHERS = {CENTERPOINT: 1, CENTERPOINT_TENTH: TENTH}  # which scenes each has seen the labels of: all, or every n-th

NO_FEATURES, NO_IMITATION = FeatureConfig(weight=0.0), AttentionConfig(weight=0.0)
ANSWERS = DistillConfig(
    feature=NO_FEATURES, attention=NO_IMITATION, response=ResponseConfig(heatmap=1.0, within_truth=True)
)


def taught(name: str, distill: DistillConfig, seeds: int = 3) -> Arm:
    """An arm that imitates the teacher which has seen all labels."""
    return Arm(name, CENTERPOINT, distill, seeds)


NONE = Arm("none")
NONE_SHORT = Arm("none_two_thirds", seeds=1, length=TWO_THIRDS)  # is the baseline trained to the end?
NONE_TENTH = Arm("none_tenth", labelled=TENTH)
HEADS = taught("heads", replace(ANSWERS, blending=BlendingConfig(kappa=0.0)))  # inherited heads, no term
