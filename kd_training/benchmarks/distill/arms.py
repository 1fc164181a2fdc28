"""What is compared: arms, each a distillation configuration (or none), and the suites that they make up.

The recipe was fixed on other seeds than the reported ones. Every arm continues the same baseline, so the student keeps
its own trained head; what inheriting the teacher's does is an arm of its own.
"""

from dataclasses import dataclass, field, replace

from kd_training.distill.config import (
    AttentionConfig,
    BlendingConfig,
    BlendingMethod,
    DistillConfig,
    FeatureConfig,
    LayerPair,
    RelationConfig,
    ResponseConfig,
)

BASELINE = "none"
CENTERPOINT, MVP = "centerpoint", "mvp"
RECIPE = DistillConfig(inherit_head=False)  # DistillBEV with automatic gradient blending
ONLY_RESPONSE = ResponseConfig(heatmap=1.0, boxes=0.25)
ONLY_RELATION = RelationConfig(weight=1.0)
NO_FEATURES = replace(RECIPE, feature=FeatureConfig(weight=0.0), attention=AttentionConfig(weight=0.0))
GRID_SCALES = (1e-4, 1e-3, 1e-2)  # of the paper's weights: its sums are over other shapes, ours would drown the task
RESCALED = (2.0**-6, 2.0**6)
MIDDLE = GRID_SCALES[1]
RESCALED_MIDDLE = tuple(MIDDLE * scale for scale in RESCALED)


def label_of(arm: str, teacher: str) -> str:
    """What an arm is called in options and tables."""
    return f"{arm}/{teacher}" if teacher else arm


@dataclass(frozen=True)
class Arm:
    """One way to train: `teacher` by name, and how it is imitated; without a teacher `distill` says nothing."""

    name: str
    teacher: str = ""
    distill: DistillConfig = field(default_factory=DistillConfig)

    @property
    def label(self) -> str:
        """Name and teacher: what tells arms of a suite apart."""
        return label_of(self.name, self.teacher)


@dataclass(frozen=True)
class GridArm:
    """The best of `points` on the tuning split; it is what a search over fixed weights finds."""

    name: str
    points: tuple[Arm, ...]

    @property
    def teacher(self) -> str:
        """The teacher of all points."""
        return self.points[0].teacher

    @property
    def label(self) -> str:
        """As an Arm's."""
        return label_of(self.name, self.teacher)


@dataclass(frozen=True)
class Suite:
    """Arms for each of the students; with `curve` every arm is scored along its run, not only at the end."""

    name: str
    title: str
    students: tuple[str, ...]
    arms: tuple[Arm | GridArm, ...]
    curve: bool = False


def blended(name: str, method: BlendingMethod, scale: float = 1.0, teacher: str = CENTERPOINT) -> Arm:
    """The recipe under another blending, every term's weight times `scale`."""
    return Arm(name, teacher, replace(rescaled(RECIPE, scale), blending=BlendingConfig(method=method)))


def rescaled(config: DistillConfig, scale: float) -> DistillConfig:
    """The weight of every term times `scale`."""
    return replace(
        config,
        feature=replace(config.feature, weight=scale * config.feature.weight),
        attention=replace(config.attention, weight=scale * config.attention.weight),
        response=replace(config.response, heatmap=scale * config.response.heatmap, boxes=scale * config.response.boxes),
        relation=replace(config.relation, weight=scale * config.relation.weight),
    )


def _features(name: str, attention: bool, scale: bool, false_positives: bool, regions: bool = True) -> Arm:
    """The recipe with some of its parts; imitating the attention comes with attention."""
    feature = FeatureConfig(regions=regions, attention=attention, scale=scale, false_positives=false_positives)
    imitation = AttentionConfig() if attention else AttentionConfig(weight=0.0)
    return Arm(name, CENTERPOINT, replace(RECIPE, feature=feature, attention=imitation))


def _layers(name: str, *pairs: tuple[str, str]) -> Arm:
    return Arm(name, CENTERPOINT, replace(RECIPE, layers=[LayerPair(*pair) for pair in pairs]))


NONE = Arm(BASELINE)
DISTILL = Arm("distill", CENTERPOINT, RECIPE)
GRID = GridArm(
    "fixed_grid3",
    tuple(blended(f"fixed_x{scale:g}", BlendingMethod.fixed, scale) for scale in GRID_SCALES),
)
MAIN = Suite(
    "main", "Students, teachers, and blending against a grid of fixed weights", ("bevdet", "bevdet4d"),
    (NONE, DISTILL, replace(DISTILL, teacher=MVP), GRID),
)  # fmt: skip
ABLATION = Suite(
    "ablation", "What each part brings", ("bevdet",),
    (
        NONE,
        _features("mse", attention=False, scale=False, false_positives=False, regions=False),
        _features("regions", attention=False, scale=False, false_positives=False),
        _features("regions_attention", attention=True, scale=False, false_positives=False),
        _features("regions_attention_scale", attention=True, scale=True, false_positives=False),
        DISTILL,
        _layers("layers_head", ("pre_head", "pre_head")),
        _layers("layers_quarter_head", ("quarter", "block2"), ("pre_head", "pre_head")),
        Arm("response", CENTERPOINT, replace(NO_FEATURES, response=ONLY_RESPONSE)),
        Arm("relation", CENTERPOINT, replace(NO_FEATURES, relation=ONLY_RELATION)),
        Arm("distill_response", CENTERPOINT, replace(RECIPE, response=ONLY_RESPONSE)),
        Arm("distill_relation", CENTERPOINT, replace(RECIPE, relation=ONLY_RELATION)),
        Arm("inherit_head", CENTERPOINT, replace(RECIPE, inherit_head=True)),
    ),
)  # fmt: skip
BLENDING = Suite(
    "blending", "Who sets the weights", ("bevdet",),
    (
        NONE,
        DISTILL,
        blended("pcgrad", BlendingMethod.pcgrad),
        blended("uncertainty", BlendingMethod.uncertainty),
        *(blended(f"agb_x{scale:g}", BlendingMethod.agb, scale) for scale in RESCALED),
        *(blended(f"fixed_x{scale:g}", BlendingMethod.fixed, scale) for scale in (MIDDLE, *RESCALED_MIDDLE)),
        GRID,
    ),
)  # fmt: skip
CONVERGENCE = Suite(
    "convergence", "Steps to the baseline's final mAP", ("bevdet",), (NONE, DISTILL), curve=True
)  # fmt: skip
SUITES = (MAIN, ABLATION, BLENDING, CONVERGENCE)
