"""Accuracy as a ledger's line: JSON that every reader takes, also where a class has no heading to speak of."""

import json
import math

from kd_bench.ledger.accuracy import accuracy
from kd_perception.evaluation.center_distance import TruePositiveErrors
from kd_perception.evaluation.headings import HeadingErrors
from kd_perception.evaluation.metric import ClassMetrics, Metrics

ERRORS = TruePositiveErrors(0.5, 0.5, 0.5, 0.5, 0.5)


def test_what_a_class_has_no_figure_of_is_null():
    barrier = ClassMetrics(10, 10, 0.5, ERRORS, HeadingErrors(axis=0.1, turned=math.nan))
    line = json.dumps(accuracy(Metrics(0.5, 0.5, ERRORS, {"barrier": barrier}, {})), allow_nan=False)
    read = json.loads(line)
    assert (read["axes"], read["turns"], read["turned"]) == ({"barrier": 0.1}, {"barrier": None}, None)
