"""Which student answers a frame while another one takes its place: a frame is prepared and inferred by one pipeline.

The pipeline before stays open, although that takes the memory of a second student: its file may have been replaced in
place, and going back must work at once, in the very frame in which the new one fails. So do the lighter ones, which
stand in for the chosen one while its frames take too long.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kd_perception.engines.protocol import ignore
from kd_perception.errors import EngineError, StudentError
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline


class PipelineExchange:
    """The pipeline that was chosen, the one before it, and lighter ones that stand in for the chosen one.

    One thread prepares frames, another infers them in the same order; pipelines may be exchanged from any.
    failures: one sentence for each engine and each student given up while running.
    """

    def __init__(
        self, pipeline: Pipeline, went_back: Callable[[str], object] = ignore, lighter: Sequence[Pipeline] = ()
    ) -> None:
        """`went_back`: called in the inferring thread with a sentence when a student has failed, and another one runs
        in its place; lighter: in the order of `lighten`."""
        self.failures: tuple[str, ...] = ()
        self._held: tuple[Pipeline, Pipeline | None] = (pipeline, None)  # replaced as a whole, read without a lock
        self._lighter: tuple[Pipeline | None, ...] = tuple(lighter)  # None where one has failed
        self._stand_in = 0  # number of the lighter one that gets frames, 0 for the chosen one
        self._went_back = went_back
        self._changing = threading.Lock()
        self._preparing = threading.Lock()  # a pipeline prepares one frame at a time, and is not closed meanwhile
        self._inferred = pipeline  # by which the last frame was

    @property
    def chosen(self) -> Pipeline:
        """The pipeline that a user has chosen: it gets the next frame unless a lighter one stands in."""
        return self._held[0]

    @property
    def current(self) -> Pipeline:
        """The pipeline that gets the next frame."""
        number = self._stand_in
        return (self._lighter[number - 1] if number else None) or self.chosen

    @property
    def lighter(self) -> tuple[Pipeline, ...]:
        """The lighter pipelines that have not failed."""
        return tuple(filter(None, self._lighter))

    def lighten(self, number: int) -> None:
        """Let this lighter pipeline, from 1 on, get the frames that are prepared from now on; 0: the chosen one. In the
        place of one that has failed the chosen one gets them, too."""
        self._stand_in = number

    @property
    def before(self) -> Pipeline | None:
        """The pipeline to which `back` goes; None if there is none."""
        return self._held[1]

    def set_score_threshold(self, threshold: float) -> None:
        """Lowest score of a box, whichever student finds it."""
        with self._changing:
            for pipeline in self._open():
                pipeline.score_threshold = threshold

    def restart(self, reason: str) -> None:
        """Frames begin again, and none is at work: a memory is emptied for this reason."""
        self._inferred = self.current
        if self.current.needs_pose:
            self.current.reset(reason)

    @contextmanager
    def preparing(self, record: FrameRecord) -> Iterator[Pipeline]:
        """The pipeline of this record: the caller sets its rig and prepares the record while inside."""
        with self._preparing:
            record.pipeline = self.current
            yield record.pipeline

    def infer(self, record: FrameRecord, reset_cause: str = "") -> None:
        """Infer a prepared record by the pipeline that prepared it, without a past if `reset_cause` says why.

        When its engine fails, the pipeline before gets this very frame and runs again from then on; so does the current
        one with frames that a pipeline prepared which is gone. Raises as Pipeline.infer does when none is left.
        """
        while True:
            pipeline = record.pipeline
            if pipeline is None or pipeline not in self._open():
                with self.preparing(record) as pipeline:
                    pipeline.set_rig(record.cameras)
                    pipeline.prepare(record)
            try:
                self._infer(pipeline, record, reset_cause)
                return
            except EngineError as error:
                if not self._give_up(pipeline, error):
                    raise
                record.pipeline = None

    def exchange(self, pipeline: Pipeline) -> Pipeline | None:
        """Let this pipeline answer the frames that are prepared from now on; returns what `retire` should close."""
        with self._changing:
            current, dropped = self._held
            pipeline.score_threshold = current.score_threshold
            self._held = (pipeline, current)
        return dropped

    def back(self) -> None:
        """Let the pipeline before run again, and keep this one in its place; raises StudentError if there is none."""
        with self._changing:
            current, before = self._held
            if before is None:
                model = current.student.model_id
                raise StudentError(f"no student is kept from before {model}; give the file of the one that should run")
            self._held = (before, current)

    def retire(self, pipeline: Pipeline) -> None:
        """Close a pipeline that no longer gets frames; waits for the frame that it may be preparing."""
        with self._preparing:
            pipeline.close()

    def close(self) -> None:
        """Close what is held."""
        for pipeline in self._open():
            pipeline.close()

    def _open(self) -> list[Pipeline]:
        return [*filter(None, self._held), *self.lighter]

    def _infer(self, pipeline: Pipeline, record: FrameRecord, reset_cause: str) -> None:
        reasons = [reset_cause] if reset_cause else []
        last, self._inferred = self._inferred, pipeline
        if last is not pipeline:
            reasons.append(f"student {pipeline.student.model_id} took over from {last.student.model_id}")
            last.reset(reasons[-1])  # what it remembers is of no more use, and takes memory
            record.note("resets", reasons[-1])
        if reasons:
            pipeline.reset("; ".join(reasons))
        known = len(pipeline.engine_failures)
        try:
            pipeline.infer(record)
        finally:
            self.failures += pipeline.engine_failures[known:]

    def _give_up(self, failed: Pipeline, error: EngineError) -> bool:
        """Whether another pipeline is there for the frame at which this one has failed."""
        with self._changing:
            current, before = self._held
            if failed in self._lighter:
                self._lighter = tuple(None if pipeline is failed else pipeline for pipeline in self._lighter)
            elif failed is not current:
                return True
            elif before is None:
                return False
            else:
                self._held = (before, None)
        runs = self.current.student.model_id
        sentence = f"student {failed.student.model_id} failed while running ({error}); {runs} runs again"
        self.failures += (sentence,)
        self.retire(failed)
        self._went_back(sentence)
        return True
