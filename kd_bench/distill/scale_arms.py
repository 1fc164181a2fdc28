"""The suite `scale`: a student of a quarter of the pixels, and how much of what they are worth a finer teacher gives
back."""

from dataclasses import replace

from kd_bench.distill.common_arms import NONE
from kd_bench.distill.suite import Arm, Suite

SCALE_SEEDS = 5
FINE = (256, 704)  # pixels of the fine student's image: four times those of the demo student
TEACHER_TIME = 4.0  # of the baseline's training: at most that, with four times the pixels and the same BEV half

HIGH = Arm("high_resolution", seeds=SCALE_SEEDS, image=FINE)
LONGER = Arm("none_longer", seeds=SCALE_SEEDS, length=1.0 + TEACHER_TIME)
SAME = Arm("same_resolution", seeds=SCALE_SEEDS, camera_teacher=NONE.name)
CROSS = Arm("cross_scale", seeds=SCALE_SEEDS, camera_teacher=HIGH.name)
SCALE = Suite(
    "scale", "A quarter of the pixels", "bevdet", (replace(NONE, seeds=SCALE_SEEDS), HIGH, LONGER, SAME, CROSS),
    baseline=NONE.name,
)  # fmt: skip
