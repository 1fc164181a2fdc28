"""Another student file for the running detector: prepared in a thread of its own, then exchanged between two frames.

ROS-free. The newest request counts: it replaces one that is still being prepared.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from kd_perception.errors import KdError, StudentError
from kd_perception.geometry.camera import ring_rig
from kd_perception.nodes.common.latest_worker import LatestWorker
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.runtime.pipeline_exchange import PipelineExchange
from kd_perception.runtime.trial import try_out
from kd_perception.student.spec import Student, StudentSpec, load_student


@dataclass(frozen=True)
class SwapResult:
    """What became of a request, in a sentence; done: the student that was asked for runs."""

    done: bool
    sentence: str


@dataclass(frozen=True, eq=False)
class _Request:
    file: Path


class _ReplacedError(Exception):
    """Nobody waits for this preparation any more."""


Open = Callable[[Student, Callable[[str], None]], Pipeline]


class StudentSwaps:
    """Requests for other student files, each answered by one SwapResult unless `stop` comes first. Thread-safe."""

    def __init__(
        self, students: PipelineExchange, cameras: int, open_pipeline: Open, tell: Callable[[SwapResult], object]
    ) -> None:
        """`cameras`: of the rig; `open_pipeline`: gets a student, and whom to call now and then, which may raise;
        `tell`: called from any thread."""
        self._students, self._cameras = students, cameras
        self._open, self._tell = open_pipeline, tell
        self._lock = threading.Lock()
        self._newest: _Request | None = None  # the one that is being prepared or waits
        self._worker = LatestWorker(self._work)

    @property
    def preparing(self) -> bool:
        """Whether a request has no result yet."""
        return self._newest is not None

    def request(self, file: Path) -> None:
        """Have this student file run; a file that is being prepared already is looked at again when it is ready.

        Raises StudentError if there is no such file.
        """
        if not file.is_file():
            raise StudentError(f"student file {file} does not exist; give the path of a file written by kd export")
        request = _Request(file)
        with self._lock:
            if self._newest is not None and self._newest.file == file:
                return
            replaced, self._newest = self._newest, request
        self._worker.submit(request)
        self._tell_replaced(replaced)

    def back(self) -> str:
        """Have the student before run, at once; returns a sentence, raises StudentError if there is none."""
        with self._lock:
            left = self._students.chosen.student.model_id
            self._students.back()
            replaced, self._newest = self._newest, None
            sentence = f"{self._students.chosen.student.model_id} runs again instead of {left}, as was asked"
        self._tell_replaced(replaced)
        self._tell(SwapResult(done=True, sentence=sentence))
        return sentence

    def stop(self) -> None:
        """End a preparation, where its engine allows, and the thread."""
        with self._lock:
            self._newest = None
        self._worker.stop()

    def _tell_replaced(self, replaced: _Request | None) -> None:
        if replaced is not None:
            self._tell(SwapResult(done=False, sentence=f"{replaced.file} was not taken: a newer request came"))

    def _work(self, request: _Request) -> None:
        """The thread's part: prepare, exchange, and say what became of it."""
        try:
            self._tell(SwapResult(done=True, sentence=self._swap(request)))
        except _ReplacedError:
            return  # that was told, or the node ends
        except KdError as error:
            self._refuse(request, str(error))
        except Exception as fault:  # a bug, or a library's own exception, must not end the robot's detector
            self._refuse(request, f"{type(fault).__name__}: {fault}; please report it")

    def _refuse(self, request: _Request, reason: str) -> None:
        with self._lock:
            if request is not self._newest:
                return
            self._newest = None
        runs = self._students.chosen.student.model_id
        self._tell(SwapResult(done=False, sentence=f"{request.file} was not taken, {runs} goes on: {reason}"))

    def _swap(self, request: _Request) -> str:
        """Prepare the file and exchange; again if it was replaced meanwhile. Returns a sentence."""
        started_s = time.monotonic()
        student = load_student(request.file)
        while student.sha256 != self._students.chosen.student.sha256:
            check_successor(self._students.chosen.student.spec, student)
            for lighter in self._students.lighter:
                check_stand_in(student.spec, lighter.student)
            with ExitStack() as ending:
                pipeline = self._prepared(student, request, ending)
                student = load_student(request.file)
                if student.sha256 != pipeline.student.sha256:
                    continue
                left, dropped = self._students.chosen.student, self._end(request, pipeline)
                ending.pop_all()
            if dropped is not None:
                self._students.retire(dropped)
            seconds = time.monotonic() - started_s
            return f"{student.model_id} took over from {left.model_id}; it was prepared in {seconds:.1f} s"
        self._end(request)
        return f"{student.model_id} runs already"

    def _prepared(self, student: Student, request: _Request, ending: ExitStack) -> Pipeline:
        """A pipeline that has shown that it runs, on the rig of the running one or, before the first frame, an ideal
        one."""

        def go_on(_: str = "") -> None:
            if request is not self._newest:
                raise _ReplacedError

        go_on()
        pipeline = self._open(student, go_on)
        ending.callback(pipeline.close)
        go_on()
        height, width = student.spec.image_size
        try_out(pipeline, self._students.current.cameras or ring_rig(self._cameras, width, height))
        return pipeline

    def _end(self, request: _Request, pipeline: Pipeline | None = None) -> Pipeline | None:
        """End a request that nobody has replaced, and let the pipeline run if one is given; what that drops."""
        with self._lock:
            if request is not self._newest:
                raise _ReplacedError
            self._newest = None
            return None if pipeline is None else self._students.exchange(pipeline)


def check_successor(running: StudentSpec, student: Student) -> None:
    """Raise StudentError if a student cannot take over from another while who listens goes on.

    It looks at the same area in the same cells, and finds all classes of the other; it may find more. Image size,
    memory, precision and everything inside may differ: each pipeline prepares its own frames.
    """
    lost = [name for name in running.classes.names if name not in student.spec.classes.names]
    again = "to change that, deactivate, clean up and configure the node with it"
    if lost:
        raise StudentError(f"it does not find {', '.join(lost)}, which the running student finds; {again}")
    if student.spec.grid != running.grid:
        raise StudentError(f"its grid is {student.spec.grid}, the running student's is {running.grid}; {again}")


def check_stand_in(running: StudentSpec, lighter: Student) -> None:
    """Raise StudentError if a lighter student cannot take over from the running one while who listens goes on."""
    try:
        check_successor(running, lighter)
    except StudentError as error:
        raise StudentError(f"lighter student {lighter.model_id} cannot stand in: {error}") from error
