"""What is compared: arms, each a distillation configuration (or none), and the suites that they make up.

The recipe was fixed on another seed and another split than the reported ones. It is DistillBEV without the imitation of
the attention (blending gives that term as much say as the features', and it holds adapted features to a strength that
they cannot have where the teacher cannot be predicted), and with the teacher's heatmap.
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
NO_IMITATION, NO_RESPONSE = AttentionConfig(weight=0.0), ResponseConfig()
RECIPE = DistillConfig(attention=NO_IMITATION, response=ResponseConfig(heatmap=1.0))  # under automatic blending
RELATION = RelationConfig(weight=1.0)
NO_FEATURES = replace(RECIPE, feature=FeatureConfig(weight=0.0))
GRID_WEIGHTS = (1e-3, 1e-2, 1e-1)  # of the features beside a response of 1; 1, the paper's, would drown the task
RESCALED = (2.0**-6, 2.0**6)
MIDDLE = GRID_WEIGHTS[1]


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


def blended(name: str, method: BlendingMethod, scale: float = 1.0, features: float = 1.0) -> Arm:
    """The recipe under another blending, its features' weight times `features`, then every term's times `scale`."""
    weighted = replace(RECIPE, feature=replace(RECIPE.feature, weight=features * RECIPE.feature.weight))
    return Arm(name, CENTERPOINT, replace(rescaled(weighted, scale), blending=BlendingConfig(method=method)))


def scaled_name(name: str, scale: float) -> str:
    """What an arm is called whose losses are all multiplied."""
    return f"{name}_times{scale:g}"


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
    """Features alone, with some of their parts."""
    feature = FeatureConfig(regions=regions, attention=attention, scale=scale, false_positives=false_positives)
    return Arm(name, CENTERPOINT, replace(RECIPE, feature=feature, response=NO_RESPONSE))


def _layers(name: str, *pairs: tuple[str, str]) -> Arm:
    return Arm(name, CENTERPOINT, replace(RECIPE, layers=[LayerPair(*pair) for pair in pairs]))


NONE = Arm(BASELINE)
DISTILL = Arm("distill", CENTERPOINT, RECIPE)
GRID = GridArm(
    "fixed_grid3",
    tuple(blended(f"fixed_x{weight:g}", BlendingMethod.fixed, features=weight) for weight in GRID_WEIGHTS),
)
FIXED_MIDDLE = GRID.points[1]
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
        _features("features", attention=True, scale=True, false_positives=True),
        DISTILL,
        _layers("layers_head", ("pre_head", "pre_head")),
        _layers("layers_quarter_head", ("quarter", "block2"), ("pre_head", "pre_head")),
        Arm("response", CENTERPOINT, NO_FEATURES),
        Arm("relation", CENTERPOINT, replace(NO_FEATURES, response=NO_RESPONSE, relation=RELATION)),
        Arm("distill_relation", CENTERPOINT, replace(RECIPE, relation=RELATION)),
        Arm("distill_attention", CENTERPOINT, replace(RECIPE, attention=AttentionConfig())),
        Arm("own_head", CENTERPOINT, replace(RECIPE, inherit_head=False)),
    ),
)  # fmt: skip
BLENDING = Suite(
    "blending", "Who sets the weights", ("bevdet",),
    (
        NONE,
        DISTILL,
        blended("pcgrad", BlendingMethod.pcgrad),
        blended("uncertainty", BlendingMethod.uncertainty),
        *(blended(scaled_name("agb", scale), BlendingMethod.agb, scale) for scale in RESCALED),
        FIXED_MIDDLE,
        *(blended(scaled_name(FIXED_MIDDLE.name, scale), BlendingMethod.fixed, scale, MIDDLE) for scale in RESCALED),
        GRID,
    ),
)  # fmt: skip
CONVERGENCE = Suite(
    "convergence", "Steps to the baseline's final mAP", ("bevdet",), (NONE, DISTILL), curve=True
)  # fmt: skip
SUITES = (MAIN, ABLATION, BLENDING, CONVERGENCE)
