"""`kd bench soak`: what it concludes from known runs, and the bag that it plays."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from support.nuscenes_tables import VERSION, write_dataset

from kd_bench.soak.bag import CAMERA_HZ, FRAMES, write_soak_bag
from kd_bench.soak.load import Load, LoadFrame
from kd_bench.soak.pipeline_without_ros import Alone, read_bag_frames
from kd_bench.soak.process_watch import Usage
from kd_bench.soak.report import (
    LearningRun,
    Soaked,
    continual_verdict,
    draw_soak,
    slope_mb_per_minute,
    soak_markdown,
    stage_rows,
    verdicts,
)
from kd_perception.bags.reader import BagReader

ANSWERED, DROPPED = 0, 1


def run(latencies, dropped=0, lost=0, growth_mb=0.0):
    """A minute's run with known latencies."""
    frames = [
        LoadFrame(60.0 * i / len(latencies), ANSWERED, "", {"inference": 0.9 * ms, "end_to_end": ms}, True, "")
        for i, ms in enumerate(latencies)
    ]
    frames += [LoadFrame(1.0, DROPPED, "busy", {}, True, "")] * dropped
    history = [Usage(float(s), 400.0 + growth_mb * s / 60.0, 0.5 * s, 20) for s in range(61)]
    return Load(60.0, tuple(frames), lost, {"bev_student": history}, {}, "openvino")


ALONE = Alone((50.0,) * 20, ({"inference": 45.0},) * 20, 20.0, 25.0)


@pytest.mark.parametrize(
    "load, missed",
    [
        (run([50.0] * 600), []),
        (run([50.0] * 600, dropped=1), ["frames"]),
        (run([50.0] * 600, lost=2), ["frames"]),
        (run([50.0] * 600, growth_mb=5.0), ["memory"]),
        (run([50.0] * 580 + [90.0] * 20), ["tail"]),
        (run([65.0] * 600), ["overhead"]),
    ],
)
def test_each_aim_that_is_missed_is_named(load, missed):
    found = [sentence.split()[1].rstrip(":") for sentence in verdicts(load, ALONE) if sentence.startswith("MISSED")]
    assert found == missed


def test_memory_is_not_judged_by_a_few_seconds():
    warming_up = replace(run([50.0] * 600, growth_mb=20.0), seconds=6.0)
    assert "not judged: memory: 6 s are too short to see a leak, 60 s are not" in verdicts(warming_up, ALONE)


@pytest.mark.parametrize("answered, start", [(570, "met"), (500, "MISSED")])
def test_teacher_and_recorder_may_cost_a_tenth(answered, start):
    learning = replace(
        run([50.0] * answered), recorded={"frames_compared": "20", "frames_kept": "7", "teacher_late": "1"}
    )
    learning = replace(learning, taught={"frames_answered": "21", "frames_dropped": "2"})
    overload, learning_run = run([50.0] * 600), LearningRun(learning, (9.0, 11.0))
    sentence = continual_verdict(learning_run)
    expected = (
        f"{start}: continual: with teacher and recorder {answered / 60:.1f} instead of 10.0 frames/s (9.0 before,"
    )
    assert sentence.startswith(expected)
    assert (
        "the teacher answered 21 of 23 frames, 20 were compared and 7 kept (not compared: teacher_late 1)" in sentence
    )
    text = soak_markdown(Soaked(run([50.0] * 600), ALONE, overload, learning_run), "soak.png")
    assert f"- {sentence}\n" in text and f"| the same with teacher and recorder | {answered / 60:.1f} |" in text


def test_the_slope_leaves_out_how_a_process_warms_up():
    history = [Usage(float(s), min(100.0 + 50.0 * s, 200.0), 0.0, 1) for s in range(60)]
    assert abs(slope_mb_per_minute(history)) < 1e-6 and slope_mb_per_minute(history[:1]) == 0.0


def test_the_report_holds_what_was_measured(tmp_path):
    load = run([40.0, 60.0] * 50, dropped=2)
    text = soak_markdown(Soaked(load, ALONE, run([50.0] * 10, dropped=10)), "soak.png")
    assert "2 frames: busy" in text and "25.0 (1.25 x)" in text and "10 of 20 frames were dropped" in text
    rows = {row[0]: row for row in stage_rows(load, ALONE)}
    assert rows["end to end"][1:3] == ("50.0", "50.0") and rows["inference"][1:3] == ("45.0", "45.0")
    draw_soak(load, ALONE, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 5_000 and len(list(tmp_path.iterdir())) == 1


def test_the_bag_repeats_the_moments_with_stamps_that_advance(tmp_path):
    dataroot = write_dataset(tmp_path / "data", samples=2)
    write_soak_bag(dataroot, VERSION, tmp_path / "bag")
    frames = read_bag_frames(tmp_path / "bag")
    assert len(frames.images) == FRAMES and len(frames.names) == 6
    assert all(frames.images[i] == frames.images[i - 2] for i in range(2, FRAMES))  # two moments, again and again
    stamps = [ns for topic, ns, _ in BagReader(tmp_path / "bag").messages() if topic == "/odom"]
    assert np.allclose([later - earlier for earlier, later in pairwise(stamps)], 1e9 / CAMERA_HZ)
