"""Figures of DistillBEV (arXiv:2309.15109), nuScenes val, ResNet-50 at 256x704: published, never ours."""

from collections.abc import Mapping
from typing import NamedTuple

from kd_bench.tables import markdown_table


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

HEAD = """## Published

Figures of DistillBEV (arXiv:2309.15109) on nuScenes val, with a ResNet-50 at 256x704. The paper trains longer and on
other data: compare directions, not sizes. Its ablation is of BEVDet4D; each row adds a part to the one before."""


def published_tables() -> str:
    """The paper's figures as a section of their own; differences are to the row `none` of the same student."""
    parts = [HEAD, _table("student, arm", {f"{student}, {label}": row for (student, label), row in MAIN.items()})]
    return "\n\n".join([*parts, _table("part", ABLATION)])


def _table(heading: str, figures: Mapping[str, Published]) -> str:
    rows, base = [], None
    for label, row in figures.items():
        base = row if label.endswith("none") else base
        gain = "" if row is base else f"{row.mean_ap - base.mean_ap:+.1f}, {row.nds - base.nds:+.1f}"
        rows.append((label, f"{row.mean_ap:.1f}", f"{row.nds:.1f}", gain))
    return markdown_table((heading, "mAP", "NDS", "difference"), rows)
