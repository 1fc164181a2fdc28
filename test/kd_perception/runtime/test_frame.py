"""The frame record: what is masked, what is noted, and what a frame that is given up keeps."""

import re
from pathlib import Path

import numpy as np

from kd_perception.runtime.bev_memory import MEMORY_EMPTY, MEMORY_NONE
from kd_perception.runtime.frame import FrameRecord, Outcome


def test_cameras_without_an_image_and_with_a_bad_one_are_masked():
    record = FrameRecord(missing=("rear",), rejected={"left": "camera 'left': cut"})
    assert record.masked == {"rear", "left"} and not FrameRecord().masked


def test_notes_are_kept_by_kind_in_order_and_empty_ones_are_none():
    record = FrameRecord()
    record.note("black_images", "", "front is black")
    record.note("black_images", "rear is black")
    record.note("frozen_images", "")
    assert record.problems["black_images"] == ["front is black", "rear is black"]
    assert not record.problems["frozen_images"]


def test_a_frame_given_up_keeps_its_stamp_and_ages_and_reports_nothing_else():
    record = FrameRecord(
        7, ages_ns=(0, None), missing=("rear",), stage_ms={"wait": 1.0}, engine="openvino", memory_state=MEMORY_EMPTY,
        reset_reason="the bag loops", rejected={"left": "cut"}, inputs={"images": np.zeros(1)},
    )  # fmt: skip
    record.give_up(Outcome.REJECTED, "no calibration")
    assert (record.outcome, record.reason) == (Outcome.REJECTED, "no calibration")
    assert (record.stamp_ns, record.ages_ns) == (7, (0, None))
    assert not record.masked and not record.stage_ms and not record.engine and not record.reset_reason
    assert record.memory_state == MEMORY_NONE


def test_outcomes_have_the_names_of_the_message():
    definition = (Path(__file__).resolve().parents[3] / "kd_msgs/msg/FrameStatus.msg").read_text()
    assert {outcome.name for outcome in Outcome} == set(re.findall(r"^uint8 ([A-Z]+)=", definition, re.MULTILINE))
