"""The graph under load, short: every frame is counted, the processes are watched; and the commands of `kd bench`."""

import os
import time

import pytest
import typer
from support.fake_student import write_fake_student
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from typer.testing import CliRunner

from kd_bench.cli import bench
from kd_bench.options import EngineChoice
from kd_bench.soak.load import LoadTarget, run_load
from kd_bench.soak.pipeline_without_ros import measure_alone, read_bag_frames
from kd_bench.soak.process_watch import ProcessWatch, usage
from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import CAMERA_CHANNELS, open_nuscenes
from kd_perception.errors import DataError
from kd_perception.student.spec import load_student


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bag")
    write_scene(open_nuscenes(write_dataset(folder / "data", samples=6), VERSION), SCENES[0], folder / "bag")
    return folder / "bag"


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_fake_student(tmp_path_factory.mktemp("student") / "fake.onnx")


@pytest.mark.ros
def test_a_load_counts_every_frame_and_watches_the_processes(bag, student):
    elapsed, target = [], LoadTarget(bag, student, CAMERA_CHANNELS, EngineChoice("onnxruntime", 1))
    load = run_load(target, rate=4.0, seconds=4.0, progress=elapsed.append)
    assert load.answered and load.answered_hz <= load.offered_hz == len(load.frames) / load.seconds
    assert load.seconds >= 4.0 and elapsed == sorted(elapsed) and load.engine == "onnxruntime"
    assert set(load.processes) == {"bev_student", "replay"}
    for history in load.processes.values():
        assert len(history) >= 2 and history[-1].cpu_s >= history[0].cpu_s and history[0].memory_mb > 10.0
    assert {"wait", "inference", "end_to_end"} <= set(load.answered[0].stage_ms)
    assert int(load.counters["frames_answered"]) >= len(load.answered) > 0


def test_the_pipeline_alone_on_a_bags_frames(bag, student):
    frames = read_bag_frames(bag)
    assert frames.names == CAMERA_CHANNELS and len(frames.images) >= 6
    alone = measure_alone(load_student(student), frames, "onnxruntime", 1, 0.4)
    assert len(alone.latency_ms) == len(alone.stage_ms) > 0 and alone.sequential_hz > 0 and alone.overlapped_hz > 0
    both = alone.joined(alone)
    assert both.latency_ms == 2 * alone.latency_ms and both.overlapped_hz == alone.overlapped_hz


def test_a_bag_without_whole_moments_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_bag_frames(tmp_path / "nothing")


def test_usage_of_this_process_and_of_one_that_has_ended():
    now = usage(os.getpid())
    assert now.memory_mb > 10.0 and now.threads >= 1 and now.cpu_s > 0.0
    with ProcessWatch({"me": os.getpid(), "nobody": 2**22 + 1}, period_s=0.01) as watch:
        while len(watch.history["me"]) < 3:
            time.sleep(0.005)
    assert watch.history["nobody"] == []
    assert [entry.elapsed_s for entry in watch.history["me"]] == sorted(e.elapsed_s for e in watch.history["me"])


def test_bench_lists_its_measurements_and_times_the_pipeline_where_none_is_named():
    app = typer.main.get_command(bench)
    listed = CliRunner().invoke(bench, ["--help"])
    assert listed.exit_code == 0 and {"pipeline", "parity", "soak"} <= set(app.list_commands(None))
    meant = CliRunner().invoke(bench, ["--frames", "0"])
    assert meant.exit_code == 2 and "pipeline [OPTIONS]" in meant.output  # its own range check answers
    assert CliRunner().invoke(bench, ["no-such"]).exit_code == 2
