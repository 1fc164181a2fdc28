"""What a suite is: arms that are compared, each a way to train one student, and the slices of a plan."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from kd_bench.distill.splits import REPORTED, TUNED
from kd_training.config.distill import DistillConfig

TUNING_SEED = 100  # the first one on the tuning split: not among the reported ones
WHOLE_LENGTH, TWO_THIRDS, HALF = 1.0, 2.0 / 3.0, 0.5


class Start(Enum):
    """What every arm of a suite begins with: an image half trained on LiDAR depth alone, or ImageNet's backbone."""

    depth = "depth"
    imagenet = "imagenet"


@dataclass(frozen=True)
class Arm:
    """One way to train; without a teacher `distill` is not used.

    `seeds`: how many; `labelled`: every n-th scene's labels are used; `unlabelled`: share of the samples that come from
    the other scenes, which the teacher labels; `length`: share of the suite's steps; `smooth`, `overlap`: of the
    detection loss; `image`: height and width of the network's image, None for the student's own; `camera_teacher`: the
    arm whose student of the same seed teaches this one, which begins with its weights.
    """

    name: str
    teacher: str = ""
    distill: DistillConfig = field(default_factory=DistillConfig)
    seeds: int = 3
    labelled: int = 1
    unlabelled: float = 0.0
    length: float = WHOLE_LENGTH
    smooth: float = 0.0
    overlap: float = 0.0
    image: tuple[int, int] | None = None
    camera_teacher: str = ""


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


def whole(suite: Suite) -> Slice:
    """All arms of a suite with all their seeds."""
    return Slice(suite, tuple(arm.name for arm in suite.arms), max(arm.seeds for arm in suite.arms))
