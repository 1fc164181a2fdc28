"""Either executor runs timers and subscriptions, ends with the node, and tells of a callback's bug."""

import os
import subprocess
import sys

import pytest
from support.domains import free_domain

pytestmark = pytest.mark.ros

NODE = """
import sys
from std_msgs.msg import String
from kd_perception.nodes.common import executors
from kd_perception.nodes.common.node import ProcessNode, run

class Counting(ProcessNode):
    def __init__(self):
        super().__init__("counting")
        self.heard = 0
        self.create_subscription(String, "numbers", self.hear, 10)
        self.said = self.create_publisher(String, "numbers", 10)
        self.create_timer(0.01, lambda: self.said.publish(String(data="one")))

    def hear(self, message):
        self.heard += 1
        if self.heard == 5:
            if "bug" in sys.argv:
                raise ZeroDivisionError("of a callback")
            self.exit_code = 3

if "older" in sys.argv:
    executors.EventsExecutor = None
sys.exit(run(Counting, [], executors.executor_of_many_messages))
"""


@pytest.mark.parametrize("rclpy", ["installed", "older"])
@pytest.mark.parametrize("end, status", [("done", 3), ("bug", 1)])
def test_a_node_runs_and_ends(rclpy, end, status):
    environment = {**os.environ, "ROS_DOMAIN_ID": str(free_domain())}
    command = [sys.executable, "-c", NODE, rclpy, end]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    output = ended.stdout + ended.stderr
    assert ended.returncode == status, output
    assert ("a callback failed with a bug (ZeroDivisionError: of a callback)" in output) == (end == "bug"), output
