"""The frames of a bag through the running graph: a cut of the bag is played in lockstep, and the node keeps its stages.

Any bag can be played so: the cut has a Sample behind the message that makes a frame complete.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from kd_perception.bags.messages import sample
from kd_perception.bags.writer import BagWriter
from kd_perception.bringup.graph import Graph, bev_student_graph, replay_node
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.parity.bag_frames import BagWalk
from kd_perception.parity.inputs import BagInputs
from kd_perception.ros.camera_topics import camera_topics
from kd_perception.runtime.snapshot import FrameSnapshot, read_snapshots

DEADLINE_MS = 2000.0  # a busy machine must not decide what joins
SAMPLE_TOPIC = "/sample"


@dataclass(frozen=True)
class LiveRun:
    """Where the graph leaves its traces, and how: `folder` takes the cut, the stages and the logs."""

    folder: Path
    domain_id: int | None = None
    timeout_s: float | None = None
    echo: Callable[[str], None] = lambda line: None


def write_cut(inputs: BagInputs, frames: BagWalk, most: int, out: Path) -> int:
    """Write the inputs until `most` frames are complete, a Sample behind each; returns how many there are."""
    found, last_ns = 0, -1
    with BagWriter(out) as bag:
        for step in frames.steps():
            last_ns = max(step.logged_ns, last_ns + 1)  # players sort by time and must keep this order
            bag.write_cdr(step.topic, inputs.types[step.topic], step.cdr, last_ns)
            for record, number in zip(step.frames, count(found)):
                last_ns += 1
                bag.write(SAMPLE_TOPIC, sample(record.stamp_ns, "parity", f"frame {number + 1}"), last_ns)
            found += len(step.frames)
            if found >= most:
                break
    return found


def run_live(inputs: BagInputs, cut: Path, options: DetectorOptions, run: LiveRun) -> dict[int, FrameSnapshot]:
    """Stages of every frame that the graph processed, by stamp (ns).

    Raises GraphError (a KdError) with a node's own sentence when one fails.
    """
    from kd_perception.bringup.processes import running  # only here: it needs ROS

    stages = run.folder / "stages"
    stages.mkdir(parents=True, exist_ok=True)
    detector = replace(options, stage_folder=stages, reliable_input=True, sync_deadline_ms=DEADLINE_MS)
    replay = ReplayOptions(bag=cut, lockstep=True, wait_for_subscribers=tuple(f"{t}=1" for t in inputs.topics))
    with running(_graph(inputs, detector, replay), run.domain_id, run.folder / "logs", run.echo) as processes:
        processes.wait(run.timeout_s)
    return read_snapshots(stages)


def _graph(inputs: BagInputs, detector: DetectorOptions, replay: ReplayOptions) -> Graph:
    """Detector and replay, the topics as the bag has them."""
    graph = GraphOptions(use_sim_time=True)
    (student,) = bev_student_graph(detector, graph).nodes
    named = {"~/input/odometry": inputs.odometry, "/tf": inputs.moving, "/tf_static": inputs.static}
    for camera, asked in zip(
        inputs.cameras, camera_topics(detector, lambda topic: f"/{topic.lstrip('/')}"), strict=True
    ):
        named |= {asked.image: camera.image, asked.camera_info: camera.info}
    remappings = tuple((source, topic) for source, topic in named.items() if topic and source != topic)
    return Graph((replace(student, remappings=remappings), replay_node(replay, graph)))
