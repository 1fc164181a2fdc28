"""Figures of DistillBEV (arXiv:2309.15109), nuScenes val, ResNet-50 at 256x704: published, never ours."""

from typing import NamedTuple

from kd_bench.tables import markdown_table


class Published(NamedTuple):
    """mAP and NDS in percent, as the paper prints them, without a teacher and with CenterPoint's."""

    alone: tuple[float, float]
    taught: tuple[float, float]


STUDENTS = {
    "bevdet": Published((30.5, 37.8), (32.7, 40.7)),
    "bevdet4d": Published((32.8, 45.9), (36.3, 48.4)),
    "bevdepth": Published((36.4, 48.4), (38.9, 49.8)),
    "bevformer": Published((32.3, 43.4), (35.5, 46.8)),
}
HEAD = """## Published

Figures of DistillBEV (arXiv:2309.15109) on nuScenes val, with a ResNet-50 at 256x704. The paper trains longer and on
other data: compare directions, not sizes. BEVDepth's baseline is supervised by LiDAR depth, the others' are not."""


def published_table() -> str:
    """The paper's figures as a section of their own."""
    rows = []
    for student, (alone, taught) in STUDENTS.items():
        pairs = [f"{mean_ap:.1f}, {nds:.1f}" for mean_ap, nds in (alone, taught)]
        rows.append((student, *pairs, ", ".join(f"{b - a:+.1f}" for a, b in zip(alone, taught, strict=True))))
    names = ("student", "mAP, NDS alone", "mAP, NDS with CenterPoint", "difference")
    return f"{HEAD}\n\n{markdown_table(names, rows)}"
