"""Arms: ways to learn a new domain, as sections `continual:` of an update; and the order in which they are run.

Baselines: fine-tuning; joint training on all domains so far; replay alone; Learning without Forgetting (Li & Hoiem,
arXiv:1606.09282); DER++ (Buzzega et al., arXiv:2004.07211). `ours` is the recipe of `kd continual update`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from kd_bench.continual.domains import CITIES, DAY_NIGHT, FIVE_FIVE, DomainSequence
from kd_training.config.continual import BufferConfig, ContinualConfig, ReplayConfig
from kd_training.config.old_student import DarkConfig, KeepConfig, OldBoxesConfig, TemperatureConfig

UPDATE_RECIPE = "config/continual/update_demo.yaml"  # whose distill: is the LiDAR teacher's part
FIRST = "first"  # the student of the first domain, which arms go on from
NO_KEEPING = KeepConfig(weight=0.0)
EVENLY = BufferConfig(reservoir=1.0)  # what is kept, and what is replayed, is drawn evenly
EVEN_REPLAY = ReplayConfig(importance=False)
CONSTANT, NO_OLD_BOXES = TemperatureConfig(elastic=False), OldBoxesConfig(boxes=False)
BARE = ContinualConfig(keep=NO_KEEPING, temperature=CONSTANT, lacking=NO_OLD_BOXES)
RECIPE = ContinualConfig(blend_share=0.5)  # as UPDATE_RECIPE has it


@dataclass(frozen=True)
class LearningArm:
    """One way to learn the later domains of a sequence.

    `replays`: whether it keeps a buffer; `lidar`: whether the LiDAR teacher distils into it on new data; `human`:
    whether the labels of later domains are read, or the teacher labels them; `joint`: trained on all domains at once.
    """

    name: str
    about: str
    update: ContinualConfig = field(default_factory=ContinualConfig)
    replays: bool = False
    lidar: bool = False
    human: bool = True
    joint: bool = False


FINE_TUNE = LearningArm("fine_tune", "the new domain's labels alone", BARE)
JOINT = LearningArm("joint", "the labels of all domains together", joint=True)
REPLAYED = replace(BARE, replay=EVEN_REPLAY, buffer=EVENLY)
REPLAY = LearningArm("replay", "a reservoir is replayed", REPLAYED, replays=True)
LWF = LearningArm(
    "lwf", "distillation from the old student, everywhere, no replay",
    replace(BARE, keep=KeepConfig(foreground=0.0, boxes=0.0, features=0.0, where_labelled=True)),
)  # fmt: skip
DERPP = replace(
    REPLAY, name="derpp", about="DER++: a reservoir with the old logits",
    update=replace(REPLAYED, dark=DarkConfig(logits=0.5)),
)  # fmt: skip
OURS = LearningArm("ours", "the whole recipe", RECIPE, replays=True, lidar=True)
NO_HUMAN = replace(OURS, name="ours_without_human_labels", about="the teacher labels later domains", human=False)
PARTS = (
    replace(OURS, name="ours_without_replay", about="no buffer", replays=False),
    replace(
        OURS, name="ours_without_old_student", about="nothing is distilled from it",
        update=replace(RECIPE, keep=NO_KEEPING),
    ),
    replace(
        OURS, name="ours_without_elastic", about="one temperature for all classes",
        update=replace(RECIPE, temperature=CONSTANT),
    ),
    replace(
        OURS, name="ours_without_importance", about="kept and replayed evenly",
        update=replace(RECIPE, replay=EVEN_REPLAY, buffer=EVENLY),
    ),
    replace(OURS, name="ours_without_lidar", about="no distillation from LiDAR", lidar=False),
    replace(
        OURS, name="ours_without_blending", about="the trained weights ship as they are",
        update=replace(RECIPE, blend_share=1.0),
    ),
)  # fmt: skip
NO_BOXES = replace(
    OURS, name="ours_without_old_boxes", about="old classes are ignored where unlabelled",
    update=replace(RECIPE, lacking=NO_OLD_BOXES),
)  # fmt: skip
BASELINES = (FINE_TUNE, JOINT, REPLAY, LWF, DERPP)
ARMS = {
    CITIES.name: (*BASELINES, OURS, NO_HUMAN, *PARTS),
    DAY_NIGHT.name: (FINE_TUNE, OURS, NO_HUMAN),
    FIVE_FIVE.name: (*BASELINES, OURS, NO_BOXES),
}
SEEDS = 3


@dataclass(frozen=True)
class Lesson:
    """A part of the plan: an arm that learns a sequence with a seed."""

    sequence: DomainSequence
    arm: LearningArm
    seed: int


def lessons(sequence: DomainSequence, arms: Iterable[LearningArm], seeds: Iterable[int]) -> list[Lesson]:
    """Seed by seed, so that tables are balanced whenever the bench ends."""
    listed = list(arms)
    return [Lesson(sequence, arm, seed) for seed in seeds for arm in listed]


def whole_plan() -> Sequence[Lesson]:
    """What decides most comes first.

    Is there anything to forget, does the recipe hold it, does a night without labels improve; then the published
    baselines, classes, further seeds of these, and at last the recipe's parts.
    """
    deciding, later = (FINE_TUNE, JOINT, OURS), range(1, SEEDS)
    nights, others = ARMS[DAY_NIGHT.name], (REPLAY, LWF, DERPP, NO_HUMAN)
    return (
        *lessons(CITIES, deciding, [0]),
        *lessons(DAY_NIGHT, nights, [0]),
        *lessons(CITIES, others, [0]),
        *lessons(FIVE_FIVE, deciding, [0]),
        *lessons(CITIES, deciding, later),
        *lessons(DAY_NIGHT, nights, later),
        *lessons(CITIES, PARTS, [0]),
        *lessons(FIVE_FIVE, [arm for arm in ARMS[FIVE_FIVE.name] if arm not in deciding], [0]),
        *lessons(CITIES, others, later),
        *lessons(FIVE_FIVE, ARMS[FIVE_FIVE.name], later),
        *lessons(CITIES, PARTS, later),
    )
