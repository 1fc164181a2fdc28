"""Which convolutions gain by int8: a small student on OpenVINO, and the sentence."""

import numpy as np
import onnx
from support.small_file import small_file

from kd_bench.in_precision import Precision, student_in_precision
from kd_bench.precision.layers import TimedLayer, sentence, time_layers


def test_every_convolution_of_the_file_is_timed_in_both_precisions(tmp_path):
    student, frames = small_file(tmp_path / "small.onnx")
    rounded = student_in_precision(student, Precision.int8, frames[0].inputs)
    timed = time_layers(student, rounded, 2, 1)
    names = {node.name for node in onnx.load(str(rounded.path)).graph.node if node.op_type == "Conv"}
    found = {layer.name for layer in timed}
    assert found <= names and len(found) > 0.9 * len(names)  # what takes less than a microsecond is not reported
    gains = np.array([layer.gain for layer in timed])
    assert (gains > 0).all() and (np.diff(gains) >= 0).all()


def test_the_sentence_names_what_gains_nothing():
    fast, slow = TimedLayer("fast", 2.0, 1.0), TimedLayer("slow", 1.0, 1.0)
    assert sentence([fast]) == "1 of 1 convolutions are at least 1.02 times as fast in int8."
    told = sentence([slow, fast])
    assert told.startswith("1 of 2 ") and "`slow` (1.00 to 1.00 ms)" in told and "`fast`" not in told
