"""Requests for other student files: prepared next to the running one, tried, exchanged, refused, replaced, stopped."""

import os
import shutil
import threading
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.fake_student import SPEC, TEMPORAL_SPEC, write_fake_student

from kd_perception.errors import StudentError
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.classes import ClassList
from kd_perception.nodes.bev_student.student_swaps import StudentSwaps, SwapResult, check_successor
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.runtime.pipeline_exchange import PipelineExchange
from kd_perception.student.spec import Student, load_student

CAMERAS = 2


class Swapping:
    """A running student in a folder, its swaps, and what they have told."""

    def __init__(self, folder) -> None:
        self.folder, self.told, self.opened = folder, [], []
        self._come = threading.Semaphore(0)
        self.while_opening = lambda student, go_on: None
        self.after_opening = lambda student: None
        running = self.open(self.student("running"), lambda sentence: None)
        self.students = PipelineExchange(running)
        self.swaps = StudentSwaps(self.students, CAMERAS, self.open, self._tell)

    def student(self, name, spec=SPEC) -> Student:
        return load_student(write_fake_student(self.folder / f"{name}.onnx", replace(spec, name=name)))

    def open(self, student, go_on) -> Pipeline:
        self.while_opening(student, go_on)
        pipeline = Pipeline(student, "onnxruntime", CAMERAS, PipelineOptions(threads=1))
        self.opened.append(student.spec.name)
        self.after_opening(student)
        return pipeline

    def result(self) -> SwapResult:
        assert self._come.acquire(timeout=30.0)
        return self.told.pop(0)

    def swap(self, file) -> SwapResult:
        self.swaps.request(file)
        return self.result()

    @property
    def runs(self) -> str:
        return self.students.current.student.spec.name

    def _tell(self, result) -> None:
        self.told.append(result)
        self._come.release()


@pytest.fixture
def swapping(tmp_path):
    made = Swapping(tmp_path)
    yield made
    made.swaps.stop()
    made.students.close()


def test_forth_back_in_place_and_the_same_again(swapping):
    new = swapping.student("new", TEMPORAL_SPEC)
    result = swapping.swap(new.path)
    assert result.done and swapping.runs == "new" and not swapping.swaps.preparing
    assert result.sentence.startswith(f"{new.model_id} took over from running@")
    assert swapping.swap(new.path) == SwapResult(True, f"{new.model_id} runs already")
    shutil.copy(swapping.student("newer").path, new.path)  # replaced in place, under the same name
    assert swapping.swap(new.path).done and swapping.runs == "newer"
    assert swapping.swaps.back() == swapping.result().sentence
    assert swapping.runs == "new", "its file is gone, it runs all the same"
    swapping.swaps.back()
    assert swapping.result().done and swapping.runs == "newer"


def broken_outputs(folder):
    """A student whose scores are no numbers, whatever it sees."""
    path = write_fake_student(folder / "nan.onnx", replace(SPEC, name="nan"))
    model = onnx.load(path)
    (dark,) = [entry for entry in model.graph.initializer if entry.name == "range"]
    dark.CopyFrom(numpy_helper.from_array(np.float32(np.nan), "range"))
    onnx.save(model, path)
    return path


def test_what_cannot_run_or_does_not_fit_is_refused_in_a_sentence_and_the_running_one_goes_on(swapping):
    folder = swapping.folder
    (folder / "text.onnx").write_text("no model")
    os.truncate(swapping.student("cut").path, 1000)
    foreign = onnx.load(swapping.student("foreign").path)
    del foreign.metadata_props[:]
    onnx.save(foreign, folder / "foreign.onnx")
    fine = replace(SPEC.grid, cell_size=0.5)
    refused = {
        folder / "text.onnx": "no readable ONNX file",
        folder / "cut.onnx": "no readable ONNX file",
        folder / "foreign.onnx": "no student",
        swapping.student("fine", replace(SPEC, grid=fine)).path: "its grid is",
        broken_outputs(folder): "its heatmap is not finite",
    }
    for file, reason in refused.items():
        result = swapping.swap(file)
        assert not result.done and reason in result.sentence
        assert result.sentence.startswith(f"{file} was not taken, running@")
    with pytest.raises(StudentError, match="does not exist"):
        swapping.swaps.request(folder / "absent.onnx")
    with pytest.raises(StudentError, match="no student is kept from before running@"):
        swapping.swaps.back()
    assert swapping.runs == "running" and swapping.swap(swapping.student("good").path).done


def test_classes_may_grow_but_none_may_go():
    names = SPEC.classes.groups
    fewer = replace(SPEC, classes=ClassList(names[:-1]))
    check_successor(fewer, Student("more.onnx", SPEC, ""))
    check_successor(SPEC, Student("same.onnx", replace(SPEC, image_size=(32, 88), trained_cameras=1), ""))
    with pytest.raises(StudentError, match="it does not find pedestrian, traffic_cone, which the running student"):
        check_successor(SPEC, Student("fewer.onnx", fewer, ""))


def test_a_new_pipeline_is_tried_on_the_rig_of_the_running_one(swapping):
    rig = ring_rig(CAMERAS, 640, 200)
    swapping.students.current.set_rig(rig)
    assert swapping.swap(swapping.student("new").path).done
    assert swapping.students.current.cameras == tuple(rig), "its tables are there before its first frame"


def test_the_newest_request_counts(swapping):
    first, second = swapping.student("first").path, swapping.student("second").path
    begun, go = threading.Event(), threading.Event()

    def wait(student, go_on):
        begun.set()
        assert go.wait(30.0)

    swapping.while_opening = wait
    swapping.swaps.request(first)
    assert begun.wait(30.0) and swapping.swaps.preparing
    swapping.swaps.request(first)  # it is at it already
    swapping.swaps.request(second)
    assert swapping.result() == SwapResult(False, f"{first} was not taken: a newer request came")
    go.set()
    assert swapping.result().done and swapping.runs == "second"
    go.clear()
    swapping.swaps.request(first)
    swapping.swaps.back()  # does not wait for it
    assert [swapping.result().done, swapping.result().done] == [False, True] and swapping.runs == "running"
    go.set()


def test_a_file_that_is_replaced_while_it_is_prepared_is_prepared_again(swapping):
    path, newer = swapping.student("new").path, swapping.student("newer").path

    def replace_it(student):
        if student.spec.name == "new":
            shutil.copy(newer, path)

    swapping.after_opening = replace_it
    assert swapping.swap(path).done and swapping.runs == "newer"
    assert swapping.opened == ["running", "new", "newer"]


def test_stopping_ends_a_long_preparation_and_nothing_is_exchanged(swapping):
    begun = threading.Event()

    def build(student, go_on):
        begun.set()
        for _ in range(3000):
            go_on("building")  # as an engine reports its progress
            threading.Event().wait(0.01)

    swapping.while_opening = build
    swapping.swaps.request(swapping.student("slow").path)
    assert begun.wait(30.0)
    swapping.swaps.stop()
    assert not swapping.told and swapping.runs == "running" and swapping.opened == ["running"]
