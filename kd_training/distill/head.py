"""The student's task heads start as the teacher's (DistillBEV, arXiv:2309.15109)."""

from torch import nn

from kd_training.models.center_head import CenterHead
from kd_training.models.recoding import recoded_weights


def task_heads(head: CenterHead) -> dict[str, nn.Module]:
    """What is inherited, by name: every group's branches. The shared block is not: it reads the student's features."""
    return {"heatmap": head.heatmap, "regression": head.regression}


def inherit_head(student: CenterHead, teacher: CenterHead) -> None:
    """Copy the weights and norm statistics of the teacher's task heads; `check_fit` ensures equal sizes.

    From a teacher that codes boxes otherwise come the codes that both have.
    """
    given = {name: value for name, value in teacher.state_dict().items() if name.split(".")[0] in task_heads(teacher)}
    student.load_state_dict(recoded_weights(given, teacher.coding, student), strict=False)
