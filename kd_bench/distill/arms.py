"""Suites: arms that are compared, each a way to train one student; and the order in which their runs are done.

A suite's arms share start, data, steps, batches and seeds with its baseline. What an arm imitates was fixed beforehand:
the suite `terms` compares terms on the split `tune`, and `CHOSEN` names the one that the other suites report on `val`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from kd_bench.distill.splits import REPORTED, TUNED
from kd_training.config.distill import (
    AttentionConfig,
    BlendingConfig,
    CrossHeadConfig,
    DistillConfig,
    FeatureConfig,
    LabelFeatureConfig,
    PearsonConfig,
    RayContrastConfig,
    ResponseConfig,
)

TENTH = 10  # every tenth scene is labelled
CENTERPOINT, CENTERPOINT_TENTH = "centerpoint", "centerpoint_tenth"
TEACHERS = {CENTERPOINT: 1, CENTERPOINT_TENTH: TENTH}  # which scenes each has seen the labels of: all, or every n-th
TUNING_SEED = 100  # the first one on the tuning split: not among the reported ones
WHOLE_LENGTH, TWO_THIRDS, HALF = 1.0, 2.0 / 3.0, 0.5

NO_FEATURES, NO_IMITATION = FeatureConfig(weight=0.0), AttentionConfig(weight=0.0)
ANSWERS = DistillConfig(
    feature=NO_FEATURES, attention=NO_IMITATION, response=ResponseConfig(heatmap=1.0, within_truth=True)
)
BOTH_THIRDS = LabelFeatureConfig(weight=0.3, lidar=0.3)  # as published
PLAIN = FeatureConfig(regions=False, attention=False, scale=False, false_positives=False)


class Start(Enum):
    """What every arm of a suite begins with: an image half trained on LiDAR depth alone, or ImageNet's backbone."""

    depth = "depth"
    imagenet = "imagenet"


@dataclass(frozen=True)
class Arm:
    """One way to train; without a teacher `distill` is not used.

    `seeds`: how many; `labelled`: every n-th scene's labels are used; `unlabelled`: share of the samples that come from
    the other scenes, which the teacher labels; `length`: share of the suite's steps.
    """

    name: str
    teacher: str = ""
    distill: DistillConfig = field(default_factory=DistillConfig)
    seeds: int = 3
    labelled: int = 1
    unlabelled: float = 0.0
    length: float = WHOLE_LENGTH


@dataclass(frozen=True)
class Suite:
    """Arms of one student; `baseline` names the one that the others are compared with.

    `depth_loss`: whether LiDAR depth supervises every arm, as it does unless a comparison is to start without LiDAR;
    `length`: share of the common number of steps.
    """

    name: str
    title: str
    student: str
    arms: tuple[Arm, ...]
    baseline: str
    start: Start = Start.depth
    depth_loss: bool = True
    split: str = REPORTED
    length: float = WHOLE_LENGTH

    @property
    def first_seed(self) -> int:
        """The seeds of the tuning split are not among the reported ones."""
        return TUNING_SEED if self.split == TUNED else 0

    def arm(self, name: str) -> Arm:
        """The arm of that name; KeyError without it."""
        return {arm.name: arm for arm in self.arms}[name]


@dataclass(frozen=True)
class Slice:
    """A part of a plan: arms of a suite, by name, with their first `seeds` seeds."""

    suite: Suite
    arms: tuple[str, ...]
    seeds: int

    def pieces(self) -> Iterable[tuple[Suite, Arm, int]]:
        """Suite, arm and seed of each run: seed by seed, so that the table is balanced whenever it ends."""
        for number in range(self.seeds):
            for name in self.arms:
                arm = self.suite.arm(name)
                if number < arm.seeds:
                    yield self.suite, arm, self.suite.first_seed + number


def _taught(name: str, distill: DistillConfig, seeds: int = 3) -> Arm:
    return Arm(name, CENTERPOINT, distill, seeds)


NONE = Arm("none")
NONE_SHORT = Arm("none_two_thirds", seeds=1, length=TWO_THIRDS)  # is the baseline trained to the end?
NONE_TENTH = Arm("none_tenth", labelled=TENTH)
HEADS = _taught("heads", replace(ANSWERS, blending=BlendingConfig(kappa=0.0)))  # inherited heads, no term

TERM_SEEDS = 2
TERMS = Suite(
    "terms", "Terms on top of the teacher's answers", "bevdet4d",
    (
        _taught("answers", ANSWERS, TERM_SEEDS),
        _taught("answers_everywhere", replace(ANSWERS, response=ResponseConfig(heatmap=1.0)), TERM_SEEDS),
        _taught("label_features", replace(ANSWERS, labels=LabelFeatureConfig(weight=0.3)), TERM_SEEDS),
        _taught("label_and_lidar_features", replace(ANSWERS, labels=BOTH_THIRDS), TERM_SEEDS),
        _taught("cross_head", replace(ANSWERS, cross_head=CrossHeadConfig(weight=1.0)), TERM_SEEDS),
        _taught("pearson_features", replace(ANSWERS, pearson=PearsonConfig(weight=1.0)), TERM_SEEDS),
        _taught("ray_contrast", replace(ANSWERS, ray_contrast=RayContrastConfig(weight=1.0)), TERM_SEEDS),
        _taught("distillbev_features", replace(ANSWERS, feature=FeatureConfig()), TERM_SEEDS),
        _taught("plain_features", replace(ANSWERS, feature=PLAIN), TERM_SEEDS),
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


def whole(suite: Suite) -> Slice:
    """All arms of a suite with all their seeds."""
    return Slice(suite, tuple(arm.name for arm in suite.arms), max(arm.seeds for arm in suite.arms))


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
