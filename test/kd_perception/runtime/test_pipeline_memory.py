"""The pipeline with a student that remembers: what the engine is given, kept and told, whatever the engine does."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.fake_student import SPEC

from kd_perception.errors import MemoryLostError
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.transforms import make_transform
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.student.box_codes import AXIS
from kd_perception.student.spec import MemorySpec, Student

TEMPORAL = replace(SPEC, temporal_frames=2, memory=MemorySpec(4, 0.5, 0.1, 1.0))
HALF_SECOND = 500_000_000
IMAGES = [np.full((128, 352, 3), 90, np.uint8)] * 6


class CountingEngine:
    """Answers no boxes; its feature is one more than the memory it got. Overwrites its output, as CPU engines do."""

    name = "counting"
    not_kept = ""

    def __init__(self) -> None:
        rows, columns = SPEC.grid.shape
        self.seen: list[tuple[float, float, float]] = []  # memory, valid, interval
        self._outputs = {
            "heatmap": np.zeros((len(CLASSES), rows, columns), np.float32),
            "regression": np.zeros((len(NUSCENES.groups), len(AXIS.names), rows, columns), np.float32),
            "bev_feature": np.zeros((4, rows, columns), np.float32),
        }

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        memory = float(inputs["bev_memory"].mean())
        self.seen.append((memory, float(inputs["memory_valid"][0]), float(inputs["memory_interval"][0])))
        self._outputs["bev_feature"][:] = memory + 1.0
        return self._outputs


def open_pipeline(engine: CountingEngine) -> Pipeline:
    pipeline = Pipeline(Student(Path("none"), TEMPORAL, ""), engine)
    pipeline.set_rig(ring_rig(6, 352, 128))
    return pipeline


def pose(x: float) -> np.ndarray:
    return make_transform(np.eye(3), np.array([x, 0.0, 0.0]))


def test_each_frame_gets_what_the_frame_before_left():
    engine = CountingEngine()
    pipeline = open_pipeline(engine)
    assert pipeline.needs_pose
    answers = [pipeline.detect(IMAGES, i * HALF_SECOND, pose(2.0 * i)) for i in range(4)]
    assert [answer.memory_state for answer in answers] == ["empty", "used", "used", "used"]
    assert "since the model was loaded" in answers[0].reset_reason and not answers[1].reset_reason
    assert engine.seen == [(0.0, 0.0, 0.5), (1.0, 1.0, 0.5), (2.0, 1.0, 0.5), (3.0, 1.0, 0.5)]


def test_after_a_reset_it_answers_as_a_fresh_one():
    engine, fresh = CountingEngine(), CountingEngine()
    pipeline = open_pipeline(engine)
    for i in range(3):
        pipeline.detect(IMAGES, i * HALF_SECOND, pose(2.0 * i))
    pipeline.reset("the bag loops")
    first = pipeline.detect(IMAGES, 0, pose(0.0))
    assert (first.memory_state, first.reset_reason) == ("empty", "the bag loops")
    pipeline.detect(IMAGES, HALF_SECOND, pose(1.0))
    other = open_pipeline(fresh)
    other.detect(IMAGES, 0, pose(0.0)), other.detect(IMAGES, HALF_SECOND, pose(1.0))
    assert engine.seen[3:] == fresh.seen


def test_a_frame_without_any_image_leaves_the_memory_alone():
    engine = CountingEngine()
    pipeline = open_pipeline(engine)
    pipeline.detect(IMAGES, 0, pose(0.0))
    assert not len(pipeline.detect([None] * 6, HALF_SECOND // 2, pose(1.0)).boxes)
    assert pipeline.detect(IMAGES, HALF_SECOND, pose(2.0)).memory_state == "used"
    assert engine.seen == [(0.0, 0.0, 0.5), (1.0, 1.0, 0.5)]


def test_a_student_with_memory_insists_on_stamps():
    with pytest.raises(ValueError, match="needs the stamp"):
        open_pipeline(CountingEngine()).detect(IMAGES)


def test_memory_that_died_with_its_engine_is_forgotten_and_the_frame_answered():
    class Dying(CountingEngine):
        """Loses its memory once."""

        def run(self, inputs):
            if inputs["memory_valid"][0] and self.name == "counting":
                self.name = "next"
                raise MemoryLostError("engine counting failed, and the temporal memory with it")
            return super().run(inputs)

    engine = Dying()
    pipeline = open_pipeline(engine)
    pipeline.detect(IMAGES, 0, pose(0.0))
    answer = pipeline.detect(IMAGES, HALF_SECOND, pose(1.0))
    assert answer.memory_state == "empty" and "with it" in answer.reset_reason
    assert pipeline.detect(IMAGES, 2 * HALF_SECOND, pose(2.0)).memory_state == "used"


def test_what_an_engine_left_is_not_given_to_the_one_that_took_over():
    class Switching(CountingEngine):
        """Another engine answers from the third frame on."""

        def run(self, inputs):
            if len(self.seen) == 2:
                self.name = "next"
            return super().run(inputs)

    engine = Switching()
    pipeline = open_pipeline(engine)
    answers = [pipeline.detect(IMAGES, i * HALF_SECOND // 2, pose(i)) for i in range(5)]
    assert [answer.memory_state for answer in answers] == ["empty", "used", "used", "used", "used"]
    assert [memory for memory, _, _ in engine.seen] == [0.0, 1.0, 1.0, 2.0, 2.0]  # the fourth: the third's, not older
    assert "engine next took over from counting" in answers[3].reset_reason and not answers[4].reset_reason
