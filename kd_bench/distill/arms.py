"""The suites of `kd bench distill`, and the order in which their runs are done.

A suite's arms share start, data, steps, batches and seeds with its baseline. What an arm imitates was fixed beforehand:
the suite `terms` compares terms on the split `tune`, and `CHOSEN` names the one that the other suites report on `val`.
"""

from collections.abc import Sequence
from dataclasses import replace

from kd_bench.distill.common_arms import (
    ANSWERS,
    CENTERPOINT_TENTH,
    HEADS,
    NONE,
    NONE_SHORT,
    NONE_TENTH,
    TENTH,
    taught,
)
from kd_bench.distill.splits import TUNED
from kd_bench.distill.suite import HALF, Arm, Slice, Start, Suite, whole
from kd_training.config.distill import (
    CrossHeadConfig,
    FeatureConfig,
    LabelFeatureConfig,
    PearsonConfig,
    RayContrastConfig,
    ResponseConfig,
)

BOTH_THIRDS = LabelFeatureConfig(weight=0.3, lidar=0.3)  # as published
PLAIN = FeatureConfig(regions=False, attention=False, scale=False, false_positives=False)

TERM_SEEDS = 2
TERMS = Suite(
    "terms", "Terms on top of the teacher's answers", "bevdet4d",
    (
        taught("answers", ANSWERS, TERM_SEEDS),
        taught("answers_everywhere", replace(ANSWERS, response=ResponseConfig(heatmap=1.0)), TERM_SEEDS),
        taught("label_features", replace(ANSWERS, labels=LabelFeatureConfig(weight=0.3)), TERM_SEEDS),
        taught("label_and_lidar_features", replace(ANSWERS, labels=BOTH_THIRDS), TERM_SEEDS),
        taught("cross_head", replace(ANSWERS, cross_head=CrossHeadConfig(weight=1.0)), TERM_SEEDS),
        taught("pearson_features", replace(ANSWERS, pearson=PearsonConfig(weight=1.0)), TERM_SEEDS),
        taught("ray_contrast", replace(ANSWERS, ray_contrast=RayContrastConfig(weight=1.0)), TERM_SEEDS),
        taught("distillbev_features", replace(ANSWERS, feature=FeatureConfig()), TERM_SEEDS),
        taught("plain_features", replace(ANSWERS, feature=PLAIN), TERM_SEEDS),
    ),
    baseline="answers", split=TUNED, length=HALF,
)  # fmt: skip
FEATURES = tuple(arm.name for arm in TERMS.arms if arm.name.endswith("_features"))  # on top of the answers
CHOSEN = "answers"  # the best of TERMS on the tuning split
BEST = replace(TERMS.arm(CHOSEN), seeds=5)

MAIN = Suite(
    "main", "With a teacher and without", "bevdet4d",
    (
        replace(NONE, seeds=5), BEST, HEADS, NONE_SHORT,
        *(() if CHOSEN == "answers" else (replace(TERMS.arm("answers"), seeds=3),)),
    ),
    baseline="none",
)  # fmt: skip
PUBLISHED = Suite(
    "published", "A baseline that LiDAR never taught depth", "bevdet4d", (NONE, replace(BEST, seeds=3)),
    baseline="none", start=Start.imagenet, depth_loss=False,
)  # fmt: skip
SINGLE = Suite("single", "Without memory", "bevdet", (NONE, replace(BEST, seeds=3)), baseline="none")
LABELS = Suite(
    "labels", "A tenth of the labels", "bevdet4d",
    (
        NONE_TENTH,
        Arm("answers_tenth", CENTERPOINT_TENTH, ANSWERS, labelled=TENTH),
        Arm("answers_unlabelled", CENTERPOINT_TENTH, ANSWERS, labelled=TENTH, unlabelled=0.75),
        NONE,
    ),
    baseline="none_tenth",
)  # fmt: skip
CEILING = "none"  # of LABELS: all labels, no teacher
SUITES = (MAIN, PUBLISHED, SINGLE, TERMS, LABELS)

# What decides most comes first: is the baseline trained, is there room between a tenth and all of the labels, which
# terms are worth it; then three pairs everywhere, and the last seeds.
PLAN: Sequence[Slice] = (
    Slice(MAIN, (NONE.name, NONE_SHORT.name), 1),
    Slice(LABELS, (NONE_TENTH.name,), 1),
    whole(TERMS),
    Slice(MAIN, (NONE.name, BEST.name), 3),
    whole(LABELS),
    Slice(MAIN, (NONE.name, BEST.name, HEADS.name), 3),
    whole(PUBLISHED),
    whole(MAIN),
    whole(SINGLE),
)
