"""Arms, each a distillation configuration or none, and the suites that compare them.

The recipe was chosen on another seed and split than the reported ones. There the teacher's heatmap as a target, and its
task heads as a start, brought more than its features. The ablation shows what each part brings.
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
    """An arm's name in options and tables."""
    return f"{arm}/{teacher}" if teacher else arm


@dataclass(frozen=True)
class Arm:
    """One way to train: a teacher by name and how it is imitated; without a teacher `distill` is not used."""

    name: str
    teacher: str = ""
    distill: DistillConfig = field(default_factory=DistillConfig)

    @property
    def label(self) -> str:
        """Name and teacher: unique within a suite."""
        return label_of(self.name, self.teacher)


@dataclass(frozen=True)
class GridArm:
    """The best of `points` on the tuning split: the result of a search over fixed weights."""

    name: str
    points: tuple[Arm, ...]

    @property
    def teacher(self) -> str:
        """The teacher of all points."""
        return self.points[0].teacher

    @property
    def label(self) -> str:
        """See Arm.label."""
        return label_of(self.name, self.teacher)


@dataclass(frozen=True)
class Suite:
    """Arms for each student; with `curve` every arm is scored after each part of its run, not only at the end."""

    name: str
    title: str
    students: tuple[str, ...]
    arms: tuple[Arm | GridArm, ...]
    curve: bool = False


def blended(name: str, method: BlendingMethod, scale: float = 1.0) -> Arm:
    """The recipe under another blending method, every term's weight times `scale`."""
    named = name if scale == 1.0 else scaled_name(name, scale)
    return Arm(named, CENTERPOINT, replace(rescaled(RECIPE, scale), blending=BlendingConfig(method=method)))


def scaled_name(name: str, scale: float) -> str:
    """The name of an arm whose losses are all multiplied by `scale`."""
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


def _features(name: str, **parts: bool) -> Arm:
    """Features alone, with some of their parts switched on: regions, attention, scale, false_positives."""
    switched_off = FeatureConfig(regions=False, attention=False, scale=False, false_positives=False)
    feature = replace(switched_off, **parts)
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
        _features("mse"),
        _features("regions", regions=True),
        _features("regions_attention", regions=True, attention=True),
        _features("regions_attention_scale", regions=True, attention=True, scale=True),
        _features("features", regions=True, attention=True, scale=True, false_positives=True),
        Arm("distillbev", CENTERPOINT, DISTILLBEV),
        _layers("layers_head", ("pre_head", "pre_head")),
        _layers("layers_quarter_head", ("quarter", "block2"), ("pre_head", "pre_head")),
        DISTILL,
        Arm("head", CENTERPOINT, replace(RECIPE, blending=BlendingConfig(kappa=0.0))),  # inherited heads, no term
        Arm("distill_within_truth", CENTERPOINT, replace(RECIPE, response=replace(RESPONSE, within_truth=True))),
        Arm("distill_own_head", CENTERPOINT, replace(RECIPE, inherit_head=False)),
        Arm("distill_features", CENTERPOINT, replace(DISTILLBEV, attention=NO_IMITATION, response=RESPONSE)),
        Arm("distill_shared", CENTERPOINT, replace(RECIPE, feature=FeatureConfig(), layers=[HEADS_READ])),
        Arm("distill_relation", CENTERPOINT, replace(RECIPE, relation=RELATION)),
        Arm("relation", CENTERPOINT, replace(RECIPE, response=ResponseConfig(), relation=RELATION)),
    ),
)  # fmt: skip
BLENDING = Suite(
    "blending", "Blending methods", ("bevdet",),
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
