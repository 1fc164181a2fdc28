"""The suite `terms`: what else a student may imitate on top of the teacher's answers, and the survey's triple loss.

Without DistillBEV's regions, attention and scale its features are a plain squared error. Blending does not see the size
of a loss, so that arm is `channel_groups_plain`, the control of both.
"""

from dataclasses import replace

from kd_bench.distill.common_arms import ANSWERS, taught
from kd_bench.distill.splits import TUNED
from kd_bench.distill.suite import HALF, Suite
from kd_training.config.distill import (
    CrossHeadConfig,
    FeatureConfig,
    LabelFeatureConfig,
    PearsonConfig,
    RayContrastConfig,
    RelationConfig,
    ResponseConfig,
)
from kd_training.config.feature_terms import ChannelGroupsConfig, ObjectWeightsConfig, VolumeAttentionConfig

TERM_SEEDS, CONTROL_SEEDS = 2, 1
BOTH_THIRDS = LabelFeatureConfig(weight=0.3, lidar=0.3)  # as published
GROUPS, PLAIN_GROUPS = ChannelGroupsConfig(weight=1.0), ChannelGroupsConfig(weight=1.0, normalised=False)

FIRST = (
    taught("answers", ANSWERS, TERM_SEEDS),
    taught("cross_head", replace(ANSWERS, cross_head=CrossHeadConfig(weight=1.0)), TERM_SEEDS),
    taught("label_features", replace(ANSWERS, labels=LabelFeatureConfig(weight=0.3)), TERM_SEEDS),
    taught("distillbev_features", replace(ANSWERS, feature=FeatureConfig()), TERM_SEEDS),
    taught("pearson_features", replace(ANSWERS, pearson=PearsonConfig(weight=1.0)), TERM_SEEDS),
    taught("ray_contrast", replace(ANSWERS, ray_contrast=RayContrastConfig(weight=1.0)), TERM_SEEDS),
    taught("label_and_lidar_features", replace(ANSWERS, labels=BOTH_THIRDS), TERM_SEEDS),
    taught("answers_everywhere", replace(ANSWERS, response=ResponseConfig(heatmap=1.0)), TERM_SEEDS),
)
OTHERS = (
    taught("channel_group_features", replace(ANSWERS, channel_groups=GROUPS), TERM_SEEDS),
    taught("channel_groups_plain", replace(ANSWERS, channel_groups=PLAIN_GROUPS), CONTROL_SEEDS),  # mean squared error
    taught(
        "volume_attention_features", replace(ANSWERS, volume_attention=VolumeAttentionConfig(weight=1.0)), TERM_SEEDS
    ),
    taught("object_weight_features", replace(ANSWERS, object_weights=ObjectWeightsConfig(weight=1.0)), TERM_SEEDS),
    taught("relation", replace(ANSWERS, relation=RelationConfig(weight=1.0)), CONTROL_SEEDS),
    taught(
        "answers_and_boxes",
        replace(ANSWERS, response=ResponseConfig(heatmap=1.0, boxes=0.25, within_truth=True)),
        CONTROL_SEEDS,
    ),
)
# Focal, smooth-L1 and distance-IoU (the survey's triple loss), which is said to need 30 % fewer steps. Whole schedules
# of seven tenths tell, of the plain loss as well: a score within a longer schedule would be too low.
CLAIMED_LENGTH = 0.7
SHORT = replace(taught("answers_seven_tenths", ANSWERS, TERM_SEEDS), length=CLAIMED_LENGTH)
TRIPLE = replace(taught("triple_loss", ANSWERS, TERM_SEEDS), smooth=0.1, overlap=1.0)
TRIPLE_SHORT = replace(TRIPLE, name="triple_loss_seven_tenths", length=CLAIMED_LENGTH)

TERMS = Suite(
    "terms", "Terms on top of the teacher's answers", "bevdet4d", (*FIRST, TRIPLE_SHORT, SHORT, TRIPLE, *OTHERS),
    baseline="answers", split=TUNED, length=HALF,
)  # fmt: skip
DECIDING_TERMS = ("answers", "cross_head", "label_features", "distillbev_features")  # one of each kind
FIRST_TERMS = tuple(arm.name for arm in FIRST)  # what `CHOSEN` was chosen from
FEATURES = tuple(arm.name for arm in TERMS.arms if arm.name.endswith("_features"))  # on top of the answers
