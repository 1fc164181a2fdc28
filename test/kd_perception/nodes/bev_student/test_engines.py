"""Engines inside the real node: a GPU that fails, a student file that changes, build_only.

The GPU is played (support.tensorrt_machine) by what the node's process finds on its paths.
"""

import os
import shutil
from pathlib import Path

import pytest
from support.detector import T0, S, bench
from support.domains import free_domain
from support.fake_student import write_fake_student
from support.host_cuda import HostCuda
from support.tensorrt_machine import STANDIN, compiler

from kd_msgs.msg import FrameStatus
from kd_perception.bringup.graph import bev_student_graph
from kd_perception.bringup.processes import GraphError, running
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(compiler() is None, reason="no C compiler for the stand-in of the NVIDIA driver"),
]


@pytest.fixture
def failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nodes started now have TensorRT and a GPU; while this file exists, the GPU computes nothing."""
    folder = tmp_path / "machine"
    folder.mkdir()
    HostCuda(folder, compiler())
    shutil.copytree(STANDIN, folder / "tensorrt", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, os.pathsep.join(filter(None, (str(folder), os.environ.get(name, "")))))
    monkeypatch.setenv("TENSORRT_STANDIN_FAILURE", str(tmp_path / "failure"))
    return tmp_path / "failure"


def test_another_engine_takes_over_within_the_frame(tmp_path: Path, failure: Path):
    with bench(tmp_path, engine="auto", engine_cache=tmp_path / "cache") as detector:
        detector.works(T0)
        assert detector.status(T0).engine == "tensorrt"
        failure.touch()
        detector.works(T0 + S)  # the frame that failed is answered, and finds the object
        assert detector.status(T0 + S).engine == "openvino"
        report = (
            "engine tensorrt failed while running (cuGraphLaunch: unspecified launch failure); engine openvino runs"
        )
        detector.reported(report)
        failure.unlink()
        detector.works(T0 + 2 * S)
        assert detector.status(T0 + 2 * S).engine == "openvino"  # what failed once is not asked again
        detector.counted("engine_failures", 1)


def test_a_student_file_that_changes_disturbs_nobody_until_an_engine_is_opened(tmp_path: Path, failure: Path):
    with bench(tmp_path, engine="auto", engine_cache=tmp_path / "cache") as detector:
        detector.works(T0)
        os.truncate(tmp_path / "s.onnx", 1000)
        detector.works(T0 + S)
        failure.touch()
        detector.rig.shoot(T0 + 2 * S)
        status = detector.status(T0 + 2 * S)
        assert status.outcome == FrameStatus.REJECTED and status.engine == ""
        assert (
            "engine tensorrt failed while running" in status.reason and "changed since it was loaded" in status.reason
        )
        failure.unlink()
        detector.works(T0 + 3 * S)  # the engine that is left is tried again


def test_build_only_keeps_the_engine_or_fails(tmp_path: Path, failure: Path):
    cache = tmp_path / "cache"
    model = write_fake_student(tmp_path / "s.onnx")
    detector = DetectorOptions(model=model, engine="tensorrt", build_only=True, engine_cache=cache)
    graph = bev_student_graph(detector, GraphOptions())
    with running(graph, domain_id=free_domain()) as processes:
        processes.wait(30.0)
    assert sorted(path.suffix for path in cache.iterdir()) == [".plan", ".timing"]
    shutil.rmtree(cache)
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(GraphError, match="bev_student"):
        with running(graph, domain_id=free_domain()) as processes:
            processes.wait(30.0)
