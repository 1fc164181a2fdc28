"""The evaluator on a disk too small for the bag of detections: the node lives, and the scores are written."""

from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import Trigger
from support.detector import values
from support.domains import free_domain
from support.graph import Peer
from support.small_disk import small_disk

from kd_msgs.msg import Detection3DArray, FrameStatus, Sample
from kd_perception.bringup.graph import Graph, NodeSpec
from kd_perception.bringup.processes import running
from kd_perception.ros.qos import EVERY_RESULT
from kd_perception.ros.stamps import to_time

pytestmark = pytest.mark.ros
LARGE = "x" * 50_000  # a model's name that fills the disk soon


def test_results_survive_a_bag_that_cannot_be_written(tmp_path: Path):
    domain = free_domain()
    with small_disk(tmp_path / "disk", 512) as disk, Peer(domain) as peer:
        node = NodeSpec("evaluator", "evaluator", {"out": str(disk / "out"), "settle_s": 0.0, "quiet_s": 0.0})
        make = peer.node.create_publisher
        samples = make(Sample, "/evaluator/input/sample", EVERY_RESULT)
        objects = make(Detection3DArray, "/evaluator/input/objects", EVERY_RESULT)
        statuses = make(FrameStatus, "/evaluator/input/status", EVERY_RESULT)
        diagnostics = peer.listen(DiagnosticArray, "/diagnostics")
        evaluate = peer.node.create_client(Trigger, "/evaluator/evaluate")
        with running(Graph((node,)), domain_id=domain, log_folder=tmp_path / "logs") as processes:
            peer.until(lambda: all(topic.get_subscription_count() for topic in (samples, objects, statuses)))
            peer.until(evaluate.service_is_ready)
            for number in range(30):
                stamp = to_time(number + 1)
                sample = Sample(sample_token=f"token{number}", scene="scene")
                sample.header.stamp = stamp
                samples.publish(sample)
                found = Detection3DArray(model=LARGE)
                found.header.stamp, found.header.frame_id = stamp, "base_link"
                objects.publish(found)
            peer.until(lambda: diagnostics and "bag_problems" in values(diagnostics[-1]))
            answer = evaluate.call_async(Trigger.Request())
            peer.until(answer.done)
            assert answer.result().success, answer.result().message
            assert f"; but bag {disk}/out/detections cannot be written (" in answer.result().message
            assert sorted(path.name for path in (disk / "out").iterdir()) == ["results_nusc.json", "status.jsonl"]
            again = evaluate.call_async(Trigger.Request())
            peer.until(again.done)
            assert not again.result().success and "written already" in again.result().message
            assert processes.nodes[0].exit_code is None
