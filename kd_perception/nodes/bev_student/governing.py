"""The governor at work in the detector: which frames are left out, which student answers, and what is said of it.

The lighter students are open and tried out when the node is configured: a step takes effect with the next frame.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from kd_perception.geometry.camera import ring_rig
from kd_perception.nodes.bev_student.student_swaps import check_stand_in
from kd_perception.nodes.common.health import Health
from kd_perception.runtime.frame import FrameRecord, Outcome
from kd_perception.runtime.governor import Governor, WorkLevel
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.runtime.pipeline_exchange import PipelineExchange
from kd_perception.runtime.trial import try_out
from kd_perception.student.spec import Student, StudentSpec, load_student

STEPS, LAST_STEP, LEVEL = "governor_steps", "last_governor_step", "governor"  # in diagnostics; LEVEL: what is done now


class Governing:
    """Applies a governor's levels: `left_out` belongs to the thread that takes frames, `answered` to another."""

    def __init__(
        self, governor: Governor, students: PipelineExchange, health: Health, log: Callable[[str], object]
    ) -> None:
        """The students begin with the heaviest."""
        self._governor, self._students = governor, students
        self._health, self._log = health, log
        self._taken = 0
        self._told = ""  # the student that diagnostics name
        self._apply("")

    def left_out(self) -> str:
        """Why the next frame is not worked on, '' if it is."""
        every, number = self._governor.level.every, self._taken
        self._taken += 1
        return f"the governor leaves it out: one frame of {every} is answered" if number % every else ""

    def answered(self, record: FrameRecord) -> None:
        """Take a finished frame; one without boxes says nothing of how long they take."""
        if record.outcome is not Outcome.ANSWERED:
            return
        why = self._governor.answered(record.stage_ms["end_to_end"], time.monotonic())
        if why:
            self._apply(why)
            self._health.count(STEPS)
        elif self._students.current.student.model_id != self._told:
            self._tell()  # another student was chosen, or a lighter one has failed

    def _apply(self, why: str) -> None:
        self._students.lighten(self._governor.level.student)
        done = self._tell()
        if why:
            step = f"{done} from now on: {why}"
            self._health.detail({LAST_STEP: step})
            self._log(step)

    def _tell(self) -> str:
        """Say in diagnostics what is done now, and return it."""
        level, self._told = self._governor.level, self._students.current.student.model_id
        done = f"{_frames(level)} answered by {self._told}"
        self._health.detail({LEVEL: done})
        reduced = f"reduced to keep the deadline of {self._governor.deadline_ms:g} ms: {done}"
        self._health.standing(LEVEL, "" if level == self._governor.levels[0] else reduced)
        return done


def _frames(level: WorkLevel) -> str:
    return "every frame is" if level.every == 1 else f"one frame of {level.every} is"


def open_lighter(
    files: Sequence[str], running: StudentSpec, cameras: int, open_pipeline: Callable[[Student], Pipeline]
) -> tuple[Pipeline, ...]:
    """Pipelines of the lighter students, in the order given, tried out on an ideal rig.

    Raises StudentError for a file that cannot stand in for the running student, EngineError for one that does not run.
    """
    with ExitStack() as ending:
        opened = []
        for file in files:
            student = load_student(Path(file))
            check_stand_in(running, student)
            pipeline = open_pipeline(student)
            ending.callback(pipeline.close)
            height, width = student.spec.image_size
            try_out(pipeline, ring_rig(cameras, width, height))
            opened.append(pipeline)
        ending.pop_all()
    return tuple(opened)
