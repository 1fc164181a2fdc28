"""Each node alone as a process: it offers its lifecycle, and ends quietly however often it is interrupted."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from lifecycle_msgs.srv import GetState
from support.domains import free_domain
from support.graph import Peer

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    "name", ["bev_student", "lidar_teacher", "hard_sample_recorder", "replay", "evaluator", "visualizer"]
)
@pytest.mark.parametrize("signals", [[signal.SIGINT] * 3, [signal.SIGTERM, signal.SIGHUP]])
def test_interrupts_end_a_node_without_a_traceback(name, signals):
    domain = free_domain()
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    process = subprocess.Popen(
        [sys.executable, "-m", f"kd_perception.nodes.{name}.node"], env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with Peer(domain) as peer:
        client = peer.node.create_client(GetState, f"/{name}/get_state")
        peer.until(client.service_is_ready)
        calls, asked_s = [], []

        def answered():
            """Asks again: an answer sent before this client's reader is discovered is lost."""
            if not calls or time.monotonic() - asked_s[-1] > 3.0:
                calls.append(client.call_async(GetState.Request()))
                asked_s.append(time.monotonic())
            return next((call for call in calls if call.done()), None)

        state = peer.until(answered)
        assert state.result().current_state.label == "unconfigured"
    for number in signals:
        process.send_signal(number)
        time.sleep(0.05)
    output, _ = process.communicate(timeout=20.0)
    assert process.returncode == 0, output
    assert not re.search(r"Traceback|KeyboardInterrupt|Error", output), output  # a warning may stand
