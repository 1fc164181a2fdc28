"""Who spends what in a training step: reading, tables, forward, teacher, terms, backward, blending, optimiser."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar
from unittest.mock import patch

import torch

from kd_training.data import rig_images

PARTS = ("reading", "tables", "teacher", "old student", "forward", "blending", "backward", "optimiser")
Given, Made = ParamSpec("Given"), TypeVar("Made")
PARTS_HEADINGS = ("part", "ms", "share")


def seconds() -> float:
    """Of processor, which other programs disturb least; of wall clock where a GPU computes, once it has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


@dataclass
class PartTimes:
    """Seconds of the parts of a step, added up over `steps` steps; a part within another counts only once."""

    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    steps: int = 0
    _open: list[float] = field(default_factory=list)  # seconds of the parts within each that is being timed

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the block as part `name`."""
        began = seconds()
        self._open.append(0.0)
        try:
            yield
        finally:
            took = seconds() - began
            self.parts[name] += took - self._open.pop()
            if self._open:
                self._open[-1] += took

    def watched(self, name: str, function: Callable[Given, Made]) -> Callable[Given, Made]:
        """A function whose calls count as part `name`."""

        def call(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            with self.timed(name):
                return function(*args, **kwargs)

        return call

    @contextmanager
    def within(self, task: torch.nn.Module) -> Iterator[None]:
        """Count the geometry tables of samples, a distilled task's teachers and an update's old student as parts of
        their own in the block."""
        with patch.object(rig_images, "view_terms", self.watched("tables", rig_images.view_terms)):
            with ExitStack() as watched:
                for lesson in getattr(getattr(task, "learns", task), "lessons", ()):
                    answers = self.watched("teacher", lesson.teacher_outputs)
                    watched.enter_context(patch.object(lesson, "teacher_outputs", answers))
                if (old := getattr(task, "old", None)) is not None:
                    watched.enter_context(patch.object(old, "outputs", self.watched("old student", old.outputs)))
                yield

    def rows(self) -> list[tuple[str, ...]]:
        """Lines of a table, as PARTS_HEADINGS names them: means over the steps."""
        whole = sum(self.parts.values())
        lines = [(name, taken) for name, taken in self.parts.items() if taken > 0.0]
        return [(name, f"{1e3 * taken / self.steps:.0f}", f"{taken / whole:.1%}") for name, taken in lines]
