"""Which pipeline answers a frame while students are exchanged, fail and come back; engines are fakes."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.fake_student import SPEC, TEMPORAL_SPEC

from kd_perception.engines.fallback import FallbackEngine
from kd_perception.errors import EngineError, StudentError
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.runtime.pipeline_exchange import PipelineExchange
from kd_perception.student.box_codes import AXIS
from kd_perception.student.spec import MEMORY_OUTPUT, Student

RIG = ring_rig(2, 352, 128)
PICTURE = np.full((128, 352, 3), 60, np.uint8)
S = 1_000_000_000


class SteadyEngine:
    """Finds nothing; fails while `broken`."""

    name = "steady"
    not_kept = ""

    def __init__(self) -> None:
        self.broken, self.runs = False, 0

    def run(self, inputs):
        self.runs += 1
        if self.broken:
            raise EngineError("the board has no power")
        rows, columns = SPEC.grid.shape
        zeros = np.zeros((len(CLASSES), rows, columns), np.float32)
        codes = np.zeros((len(NUSCENES.groups), len(AXIS.names), rows, columns), np.float32)
        return {"heatmap": zeros, "regression": codes, MEMORY_OUTPUT: zeros}


def pipeline_of(name, spec=SPEC, image_size=SPEC.image_size):
    student = Student(Path(f"{name}.onnx"), replace(spec, name=name, image_size=image_size), name)
    return Pipeline(student, SteadyEngine(), len(RIG))


class Drive:
    """Frames through an exchange, each half when a test says so."""

    def __init__(self, students):
        self.students, self._stamp_ns = students, 0

    def prepared(self):
        self._stamp_ns += S // 2
        record = FrameRecord(self._stamp_ns, images=[PICTURE] * len(RIG), cameras=tuple(RIG), odom_from_base=np.eye(4))
        with self.students.preparing(record) as pipeline:
            pipeline.set_rig(record.cameras)
            pipeline.prepare(record)
        return record

    def inferred(self, record=None, **cause):
        record = record or self.prepared()
        self.students.infer(record, **cause)
        return record


@pytest.fixture
def held():
    """Pipelines by name, closed in the end: one of memory that runs, another size, and one more."""
    pipelines = {
        "first": pipeline_of("first", TEMPORAL_SPEC),
        "second": pipeline_of("second", image_size=(32, 88)),
        "third": pipeline_of("third", TEMPORAL_SPEC),
    }
    yield pipelines
    for pipeline in pipelines.values():
        pipeline.close()


def names(*records):
    return [record.model.partition("@")[0] for record in records]


def test_a_frame_stays_with_the_pipeline_that_prepared_it_and_the_past_ends_at_the_border(held):
    drive = Drive(PipelineExchange(held["first"]))
    before = [drive.inferred() for _ in range(3)]
    assert [record.memory_state for record in before] == ["empty", "used", "used"]
    at_work = drive.prepared()
    assert drive.students.exchange(held["second"]) is None
    waiting = drive.prepared()
    assert at_work.inputs["images"].shape[1:3] == SPEC.image_size and waiting.inputs["images"].shape[1:3] == (32, 88)
    assert names(drive.inferred(at_work), drive.inferred(waiting), drive.inferred()) == ["first", "second", "second"]
    assert at_work.memory_state == "used" and not at_work.reset_reason
    assert waiting.reset_reason == "student second@second took over from first@first"
    assert waiting.problems["resets"] == [waiting.reset_reason]
    drive.students.back()
    again = drive.inferred()
    assert (names(again), again.memory_state) == (["first"], "empty")
    assert again.reset_reason == "student first@first took over from second@second"
    assert drive.inferred().memory_state == "used"


def test_reasons_of_the_same_frame_are_all_told_and_the_threshold_stays(held):
    drive = Drive(PipelineExchange(held["first"]))
    drive.students.set_score_threshold(0.6)
    drive.students.exchange(held["third"])
    record = drive.inferred(reset_cause="odometry jumped")
    assert record.reset_reason == "odometry jumped; student third@third took over from first@first"
    assert held["third"].score_threshold == 0.6
    drive.students.set_score_threshold(0.2)
    drive.students.back()
    assert drive.students.current.score_threshold == 0.2


def test_the_frame_at_which_the_new_student_fails_is_answered_by_the_one_before(held):
    told = []
    drive = Drive(PipelineExchange(held["first"], told.append))
    drive.inferred()
    drive.students.exchange(held["second"])
    held["second"].engine.broken = True
    failing, next_one = drive.prepared(), drive.prepared()
    assert names(drive.inferred(failing), drive.inferred(next_one), drive.inferred()) == ["first"] * 3
    assert held["second"].engine.runs == 1, "frames that it had prepared go to the other at once"
    sentence = "student second@second failed while running (the board has no power); first@first runs again"
    assert told == [sentence] and drive.students.failures == (sentence,)
    assert drive.students.before is None
    with pytest.raises(StudentError, match="no student is kept from before first@first"):
        drive.students.back()
    held["first"].engine.broken = True
    with pytest.raises(EngineError, match="no power"):
        drive.inferred()  # nobody is left, as without an exchange
    held["first"].engine.broken = False
    assert names(drive.inferred()) == ["first"]


def test_an_old_frame_at_which_the_old_student_fails_goes_to_the_new_one(held):
    drive = Drive(PipelineExchange(held["first"]))
    record = drive.prepared()
    drive.students.exchange(held["second"])
    held["first"].engine.broken = True
    assert names(drive.inferred(record)) == ["second"]
    assert drive.students.before is held["first"]


def test_frames_of_a_pipeline_that_two_exchanges_have_dropped_are_prepared_again(held):
    drive = Drive(PipelineExchange(held["first"]))
    record = drive.prepared()
    drive.students.exchange(held["second"])
    dropped = drive.students.exchange(held["third"])
    assert dropped is held["first"]
    drive.students.retire(dropped)
    assert names(drive.inferred(record), drive.inferred()) == ["third", "third"]


def test_lighter_students_stand_in_until_they_fail_and_what_is_chosen_goes_its_own_way(held):
    told = []
    students = PipelineExchange(held["first"], told.append, [held["second"]])
    drive = Drive(students)
    students.set_score_threshold(0.7)
    assert held["second"].score_threshold == 0.7
    waiting = drive.prepared()
    students.lighten(1)
    assert students.current is held["second"] and students.chosen is held["first"]
    first = drive.inferred(waiting)
    assert names(first, drive.inferred()) == ["first", "second"]
    students.exchange(held["third"])
    assert names(drive.inferred()) == ["second"], "a swap waits for the level"
    held["second"].engine.broken = True
    assert names(drive.inferred(), drive.inferred()) == ["third", "third"], "the very frame is answered"
    assert told == ["student second@second failed while running (the board has no power); third@third runs again"]
    assert students.lighter == () and students.before is held["first"]
    students.lighten(0)
    assert names(drive.inferred()) == ["third"]


def test_failures_of_engines_stay_told_across_exchanges(held):
    def opened(name):
        engine = SteadyEngine()
        engine.broken, engine.name = name == "gpu", name
        return engine

    student = Student(Path("auto.onnx"), replace(SPEC, name="auto"), "auto")
    fallback = Pipeline(student, FallbackEngine(("gpu", "cpu"), opened), len(RIG))
    drive = Drive(PipelineExchange(held["first"]))
    drive.students.exchange(fallback)
    assert drive.inferred().engine == "cpu"
    drive.students.back()
    assert len(drive.students.failures) == 1 and "engine gpu failed" in drive.students.failures[0]
    fallback.close()


def test_exchanges_while_frames_stream_answer_each_of_them_once_and_by_who_prepared_it(held):
    """The stages' two threads: 60 frames, and a third thread that exchanges all the time."""
    drive, waiting, answered = Drive(PipelineExchange(held["first"])), threading.Semaphore(0), []
    records, ended = [], threading.Event()
    drive.students.exchange(held["second"])

    def infer():
        for index in range(60):
            waiting.acquire()
            drive.inferred(records[index])
            answered.append(records[index])

    def exchange():
        while not ended.wait(0.002):
            drive.students.back()

    threads = [threading.Thread(target=infer), threading.Thread(target=exchange)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        records.append(drive.prepared())
        waiting.release()
    threads[0].join()
    ended.set()
    threads[1].join()
    assert answered == records and not drive.students.failures
    assert all(record.pipeline.student.model_id == record.model for record in records)
    assert set(names(*records)) == {"first", "second"}
