"""The matrix of files, precisions and GPU generations: what it says where there is no engine. What TensorRT-RTX builds
is in test/kd_training/checkpoints/test_tensorrt_legality.py."""

from pathlib import Path

import pytest
from support.checkout import ROOT

from kd_bench.gpu import matrix
from kd_bench.gpu.build_report import BuildReport
from kd_bench.gpu.matrix import BuildableFile, matrix_rows, tensorrt
from kd_bench.in_precision import Precision
from kd_perception.errors import ConfigError


def test_each_precision_has_a_row_and_refusals_say_why(monkeypatch: pytest.MonkeyPatch):
    class Played(BuildableFile):
        def built(self, precisions, generations):
            if self.path.name == "crash":
                raise RuntimeError("TensorRT ended with -11")
            refused = BuildReport(["no importer\nfor Teleport"], [], {}, [])
            return [BuildReport([], [], dict.fromkeys(generations, 2_000_000), []), refused]

    monkeypatch.setattr(matrix, "made_file", lambda name, _: Played(Path(name), None, {}))
    [fault] = matrix_rows(["crash"], [Precision.fp32], ["SM86"], print)
    assert fault == ("crash", "fp32", "refused: TensorRT ended with -11")
    rows = matrix_rows(["bevdet"], [Precision.fp32, Precision.int8], ["SM86", "SM120"], print)
    refusal = "refused: no importer for Teleport"
    assert rows == [("bevdet", "fp32", "2.0 MB", "2.0 MB"), ("bevdet", "int8", refusal, refusal)]


def test_a_teacher_that_becomes_no_file_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    [row] = matrix_rows(["centerpoint, voxels"], [Precision.fp32], ["SM86"], print)
    assert row[1] == "no file" and "has voxels" in row[2]


def test_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(matrix, "find_spec", lambda name: name)
    with pytest.raises(ConfigError, match="there is no file 'bevdata'; choose of: bevdet; "):
        tensorrt(only=["bevdata"])
