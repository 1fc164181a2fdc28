"""What is compared: arms, each a distillation configuration (or none), and the suites that they make up.

The recipe was fixed on another seed and another split than the reported ones, where the teacher's heatmap as a target
and its task heads as a start brought more than its features did; what these bring is the ablation's.
"""

from dataclasses import dataclass, field, replace

from kd_training.config.distill import (
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
NO_FEATURES, NO_IMITATION = FeatureConfig(weight=0.0), AttentionConfig(weight=0.0)
RESPONSE, RELATION = ResponseConfig(heatmap=1.0), RelationConfig(weight=1.0)
RECIPE = DistillConfig(feature=NO_FEATURES, attention=NO_IMITATION, response=RESPONSE)  # under automatic blending
DISTILLBEV = DistillConfig()  # arXiv:2309.15109, under automatic blending
HEADS_READ = LayerPair("shared", "shared")
GRID_SCALES = (0.25, 1.0, 4.0)
RESCALED = (2.0**-6, 2.0**6)


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


def blended(name: str, method: BlendingMethod, scale: float = 1.0) -> Arm:
    """The recipe under another blending, every term's weight times `scale`; its name says so."""
    named = name if scale == 1.0 else scaled_name(name, scale)
    return Arm(named, CENTERPOINT, replace(rescaled(RECIPE, scale), blending=BlendingConfig(method=method)))


def scaled_name(name: str, scale: float) -> str:
    """What an arm is called whose losses are all multiplied."""
    return f"{name}_x{scale:g}"


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
    return Arm(name, CENTERPOINT, replace(DISTILLBEV, feature=feature, attention=NO_IMITATION))


def _layers(name: str, *pairs: tuple[str, str]) -> Arm:
    layers = [LayerPair(*pair) for pair in pairs]
    return Arm(name, CENTERPOINT, replace(DISTILLBEV, attention=NO_IMITATION, layers=layers))


NONE = Arm(BASELINE)
DISTILL = Arm("distill", CENTERPOINT, RECIPE)
GRID = GridArm("fixed_grid3", tuple(blended("fixed", BlendingMethod.fixed, scale) for scale in GRID_SCALES))
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
        Arm("distillbev", CENTERPOINT, DISTILLBEV),
        _layers("layers_head", ("pre_head", "pre_head")),
        _layers("layers_quarter_head", ("quarter", "block2"), ("pre_head", "pre_head")),
        DISTILL,
        Arm("head", CENTERPOINT, replace(RECIPE, blending=BlendingConfig(kappa=0.0))),  # the teacher's, and no term
        Arm("distill_within_truth", CENTERPOINT, replace(RECIPE, response=replace(RESPONSE, within_truth=True))),
        Arm("distill_own_head", CENTERPOINT, replace(RECIPE, inherit_head=False)),
        Arm("distill_features", CENTERPOINT, replace(DISTILLBEV, attention=NO_IMITATION, response=RESPONSE)),
        Arm("distill_shared", CENTERPOINT, replace(RECIPE, feature=FeatureConfig(), layers=[HEADS_READ])),
        Arm("distill_relation", CENTERPOINT, replace(RECIPE, relation=RELATION)),
        Arm("relation", CENTERPOINT, replace(RECIPE, response=ResponseConfig(), relation=RELATION)),
    ),
)  # fmt: skip
BLENDING = Suite(
    "blending", "Who sets the weights", ("bevdet",),
    (
        NONE,
        DISTILL,
        blended("pcgrad", BlendingMethod.pcgrad),
        blended("uncertainty", BlendingMethod.uncertainty),
        *(blended("agb", BlendingMethod.agb, scale) for scale in RESCALED),
        blended("fixed", BlendingMethod.fixed),
        *(blended("fixed", BlendingMethod.fixed, scale) for scale in RESCALED),
        GRID,
    ),
)  # fmt: skip
CONVERGENCE = Suite(
    "convergence", "Steps to the baseline's final mAP", ("bevdet",), (NONE, DISTILL), curve=True
)  # fmt: skip
SUITES = (MAIN, ABLATION, BLENDING, CONVERGENCE)
