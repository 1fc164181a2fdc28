"""The student's task heads start as the teacher's (DistillBEV, arXiv:2309.15109)."""

from torch import nn

from kd_training.models.center_head import CenterHead


def task_heads(head: CenterHead) -> dict[str, nn.Module]:
    """What is inherited, by name: every group's branches. The shared block is not: it reads the student's features."""
    return {"heatmap": head.heatmap, "regression": head.regression}


def inherit_head(student: CenterHead, teacher: CenterHead) -> None:
    """Copy the weights and norm statistics of the teacher's task heads; `check_fit` ensures equal sizes."""
    sources = task_heads(teacher)
    for name, module in task_heads(student).items():
        module.load_state_dict(sources[name].state_dict())
