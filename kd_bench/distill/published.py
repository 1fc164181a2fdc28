"""Figures of DistillBEV (arXiv:2309.15109), nuScenes val, ResNet-50 at 256x704: published, never ours."""

from typing import NamedTuple


class Published(NamedTuple):
    """mAP and NDS in percent, as the paper prints them."""

    mean_ap: float
    nds: float


MAIN = {
    ("bevdet", "none"): Published(30.5, 37.8),
    ("bevdet", "distill/centerpoint"): Published(32.7, 40.7),
    ("bevdet", "distill/mvp"): Published(34.0, 41.6),
    ("bevdet4d", "none"): Published(32.8, 45.9),
    ("bevdet4d", "distill/centerpoint"): Published(36.3, 48.4),
    ("bevdet4d", "distill/mvp"): Published(37.0, 48.8),
    ("bevdepth", "none"): Published(36.4, 48.4),
    ("bevdepth", "distill/centerpoint"): Published(38.9, 49.8),
    ("bevdepth", "distill/mvp"): Published(40.3, 51.0),
}
# The paper's ablation is of BEVDet4D: each of its rows adds a part to the one before; layers are over the full recipe.
ABLATION = {
    "none": Published(32.8, 45.9),
    "mse/centerpoint": Published(32.9, 45.6),
    "regions/centerpoint": Published(33.4, 46.3),
    "regions_attention/centerpoint": Published(34.6, 46.5),
    "regions_attention_scale/centerpoint": Published(36.8, 48.4),
    "features/centerpoint": Published(37.8, 49.0),
    "layers_head/centerpoint": Published(34.9, 46.2),
    "layers_quarter_head/centerpoint": Published(36.1, 47.3),
}
CONVERGENCE_SHARE = 1 / 3  # of the baseline's epochs, after which the distilled student is where the baseline ends
