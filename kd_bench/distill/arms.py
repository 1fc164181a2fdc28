"""The suites of `kd bench distill`, and the order in which their runs are done.

A suite's arms share start, data, steps, batches and seeds with its baseline. What an arm imitates was fixed beforehand:
the suite `terms` compares terms on the split `tune`, and `CHOSEN` names the one that the other suites report on `val`.
"""

from collections.abc import Sequence
from dataclasses import replace

from kd_bench.distill.blending_suite import BLENDING
from kd_bench.distill.common_arms import (
    ANSWERS,
    CENTERPOINT_TENTH,
    HEADS,
    NONE,
    NONE_SHORT,
    NONE_TENTH,
    TENTH,
)
from kd_bench.distill.scale_arms import CROSS, HIGH, SCALE
from kd_bench.distill.suite import Arm, Slice, Start, Suite, whole
from kd_bench.distill.terms_suite import DECIDING_TERMS, FIRST_TERMS, TERMS

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
SUITES = (MAIN, PUBLISHED, SINGLE, TERMS, LABELS, BLENDING, SCALE)

# What decides most comes first: is the baseline trained, is there room between a tenth and all of the labels and
# between few pixels and many, which kind of term is worth it; then three pairs everywhere, every term once, the rivals
# of blending, and the last seeds.
PLAN: Sequence[Slice] = (
    Slice(MAIN, (NONE.name, NONE_SHORT.name), 1),
    Slice(LABELS, (NONE_TENTH.name,), 1),
    Slice(TERMS, DECIDING_TERMS, 1),
    Slice(SCALE, (NONE.name, HIGH.name, CROSS.name), 1),
    Slice(TERMS, FIRST_TERMS, 1),
    Slice(MAIN, (NONE.name, BEST.name), 3),
    whole(LABELS),
    Slice(MAIN, (NONE.name, BEST.name, HEADS.name), 3),
    whole(PUBLISHED),
    whole(MAIN),
    whole(SINGLE),
    Slice(TERMS, tuple(arm.name for arm in TERMS.arms), 1),
    whole(BLENDING),
    whole(SCALE),
    whole(TERMS),
)
