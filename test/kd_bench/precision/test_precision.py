"""The gate of a precision, which files are compared, and the tables."""

from dataclasses import replace

import pytest
from support.fake_student import write_fake_student

from kd_bench.precision.command import ACCURACY, ComparedPrecision, accuracy_row, speed_rows
from kd_bench.precision.files import check_files, labels_of, origins
from kd_bench.precision.gate import ALLOWED, loss_of
from kd_bench.precision.speed import TimedFile
from kd_perception.errors import StudentError
from kd_perception.evaluation.center_distance import TruePositiveErrors
from kd_perception.evaluation.metric import ClassMetrics, Metrics
from kd_perception.student.spec import Student, load_student

ERRORS = TruePositiveErrors(0.5, 0.5, 0.5, 0.5, 0.5)


def metrics(car: float, bus: float, nds: float) -> Metrics:
    classes = {name: ClassMetrics(10, 10, ap, ERRORS) for name, ap in (("car", car), ("bus", bus))}
    return Metrics((car + bus) / 2, nds, ERRORS, classes, {})


def in_int8(student: Student, **provenance: str) -> Student:
    return replace(student, spec=replace(student.spec, precision="int8", provenance=provenance))


@pytest.fixture
def student(tmp_path):
    return load_student(write_fake_student(tmp_path / "student.onnx"))


@pytest.mark.parametrize(
    ("car", "bus", "nds", "passes"),
    [
        (0.498, 0.302, 0.398, True),
        (0.490, 0.300, 0.400, False),  # mAP 0.5 points below
        (0.500, 0.300, 0.396, False),  # NDS 0.4 below
        (0.484, 0.316, 0.400, False),  # one class 1.6 below, another as much above
        (0.550, 0.350, 0.450, True),
    ],
)
def test_int8_may_lose_little(car, bus, nds, passes):
    loss = loss_of(metrics(0.5, 0.3, 0.4), metrics(car, bus, nds))
    assert loss.within(ALLOWED["int8"]) == passes
    entry = ComparedPrecision("int8", "int8", metrics(car, bus, nds), loss)
    row = dict(zip(ACCURACY, accuracy_row(entry), strict=True))
    assert row["precision"] == "int8" and row["gate"] == ("passes" if passes else "fails")


def test_fp16_may_lose_almost_nothing():
    full = metrics(0.5, 0.3, 0.4)
    assert loss_of(full, metrics(0.4998, 0.2998, 0.3998)).within(ALLOWED["fp16"])
    assert not loss_of(full, metrics(0.499, 0.299, 0.4)).within(ALLOWED["fp16"])


def test_only_precisions_of_one_student_are_compared(student):
    int8 = in_int8(student)
    check_files([student, int8])
    with pytest.raises(StudentError, match="give the FP32 file"):
        check_files([int8, student])
    with pytest.raises(StudentError, match="another student"):
        check_files([student, replace(int8, spec=replace(int8.spec, image_size=(64, 64)))])
    provenance = {"quantised from": student.model_id}
    check_files([student, replace(int8, spec=replace(int8.spec, provenance=provenance))])
    provenance = {"halved from": "fake@0123456789ab"}
    with pytest.raises(StudentError, match="was made of fake@0123456789ab, not of painted@"):
        check_files([student, replace(int8, spec=replace(int8.spec, provenance=provenance))])
    with pytest.raises(StudentError, match="gates for int8, fp16"):
        check_files([student, student])


def test_files_of_one_precision_are_numbered_and_keep_their_origins_apart(student):
    files = [student, in_int8(student, calibration="a day"), in_int8(student, calibration="a night", int8="99 %")]
    assert labels_of(files[:2]) == ["fp32", "int8"] and labels_of(files) == ["fp32", "int8 1", "int8 2"]
    facts = origins(files)
    assert facts["fp32"] == student.model_id and facts["int8 2, share"] == "99 %"
    assert (facts["int8 1, calibration"], facts["int8 2, calibration"]) == ("a day", "a night")


def test_speed_is_told_against_fp32_on_the_same_engine():
    timed = [TimedFile("fp32", "a", 30.0, 29.0), TimedFile("int8", "a", 10.0, 9.0), TimedFile("fp32", "b", 20.0, 19.0)]
    assert [row[-1] for row in speed_rows(timed)] == ["1.00", "3.00", "1.00"]


def test_bfloat16_is_told_against_fp32_on_the_exact_engine():
    timed = [TimedFile("fp32", "a", 30.0, 29.0), TimedFile("fp32", "a-bf16", 10.0, 9.0)]
    assert [row[-1] for row in speed_rows(timed)] == ["1.00", "3.00"]
    assert [row[-1] for row in speed_rows(timed[1:])] == ["1.00"]
