"""The detector's graph under load: a bag played in a loop at a rate, every FrameStatus and process watched."""

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_bench.graph_listener import GraphListener
from kd_bench.options import EngineChoice
from kd_bench.soak.process_watch import ProcessWatch, Usage
from kd_msgs.msg import FrameStatus
from kd_perception.bringup.graph import Graph, NodeSpec, bev_student_graph, continual_nodes, replay_node
from kd_perception.bringup.processes import running
from kd_perception.datasets.rigs import LIDAR
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.options.teacher import TeacherOptions

SETTLE_S = 3.0  # after the first detections: caches, memory pools and the discovery of listeners
START_TIMEOUT_S = 120.0
POLL_S = 0.2
RECORDER, TEACHER = "hard_sample_recorder", "lidar_teacher"
_domains = itertools.count(os.getpid())


@dataclass(frozen=True)
class LoadFrame:
    """One FrameStatus: seconds since the load began, outcome, reason, stages, whether all cameras were used."""

    elapsed_s: float
    outcome: int
    reason: str
    stage_ms: dict[str, float]
    complete: bool
    reset_reason: str


@dataclass(frozen=True)
class Load:
    """One run under load.

    seconds: its duration; frames: in order of arrival; images_lost: on the way, of all cameras; processes: usage by
    name; counters: the detector's own, at the end; engine: its name; recorded, taught: the recorder's and the teacher's
    counters, where they ran.
    """

    seconds: float
    frames: tuple[LoadFrame, ...]
    images_lost: int
    processes: dict[str, list[Usage]]
    counters: dict[str, str]
    engine: str
    recorded: dict[str, str] = field(default_factory=dict)
    taught: dict[str, str] = field(default_factory=dict)

    @property
    def answered(self) -> list[LoadFrame]:
        """The frames that were processed."""
        return [frame for frame in self.frames if frame.outcome == FrameStatus.ANSWERED]

    @property
    def answered_hz(self) -> float:
        """Processed frames per second."""
        return len(self.answered) / self.seconds

    @property
    def offered_hz(self) -> float:
        """Frames per second that the anchor camera started."""
        return len(self.frames) / self.seconds


@dataclass(frozen=True)
class LoadTarget:
    """What runs under load: a bag, a student file, the names of its cameras in rig order, and an engine.

    teacher: file of a LiDAR teacher that runs next to it, with the recorder, which writes into `recording`; niceness:
    of both.
    """

    bag: Path
    model: Path
    cameras: Sequence[str]
    engine: EngineChoice
    teacher: Path | None = None
    recording: Path | None = None
    niceness: int = TeacherOptions.niceness


def run_load(
    target: LoadTarget, *, rate: float, seconds: float, progress: Callable[[float], None] = lambda elapsed_s: None
) -> Load:
    """Play the bag in a loop at `rate` times its speed for `seconds`; raises GraphError if a node fails meanwhile."""
    detector = DetectorOptions(
        model=target.model,
        engine=target.engine.name,
        camera_names=tuple(target.cameras),
        threads=target.engine.threads,
        wait_for_subscribers=("objects=1", "status=2"),
    )
    graph = GraphOptions(use_sim_time=True)
    (student,) = bev_student_graph(detector, graph).nodes
    learning: tuple[NodeSpec, ...] = ()
    if target.teacher is not None:
        teacher = TeacherOptions(model=target.teacher, threads=1, niceness=target.niceness)
        recorder = RecorderOptions(folder=target.recording, niceness=target.niceness)
        learning = continual_nodes(teacher, recorder, detector, graph)
    waits = _listeners(target.cameras, continual=bool(learning))
    replay = replay_node(ReplayOptions(bag=target.bag, rate=rate, loop=True, wait_for_subscribers=waits), graph)
    domain = 1 + next(_domains) % 100
    listener = GraphListener(domain)
    try:
        with running(Graph((student, *learning, replay)), domain_id=domain) as processes:
            _wait_for_detections(listener, processes.finished)
            first, lost_before = len(listener.statuses), int(listener.counters.get("images_lost", "0"))
            started_s = time.monotonic()
            pids = {node.name: node.process.pid for node in processes.nodes}
            with ProcessWatch(pids) as watch:
                while (elapsed_s := time.monotonic() - started_s) < seconds:
                    processes.finished()
                    progress(elapsed_s)
                    time.sleep(POLL_S)
            statuses = listener.statuses[first:]
            elapsed_s = time.monotonic() - started_s
        counters = listener.counters
    finally:
        listener.close()
    frames = tuple(_frame(received_s - started_s, status) for received_s, status in statuses)
    lost = int(counters.get("images_lost", "0")) - lost_before
    engine = counters.get("engine", target.engine.name)
    recorded, taught = (listener.reports.get(name, {}) for name in (RECORDER, TEACHER))
    return Load(elapsed_s, frames, lost, watch.history, counters, engine, recorded, taught)


def _listeners(cameras: Sequence[str], *, continual: bool) -> tuple[str, ...]:
    """Who subscribes to the bag's topics: the detector, and to the cloud this process; recorder and teacher, too."""
    topics = [f"/{camera}/{kind}" for camera in cameras for kind in ("image/compressed", "camera_info")]
    counts = dict.fromkeys(topics, 1 + continual)
    counts |= {f"/{LIDAR}/points": 1 + 2 * continual}
    counts |= dict.fromkeys(("/tf", "/tf_static"), 1 + 3 * continual)  # the recorder keeps what it also looks up
    return tuple(f"{topic}={count}" for topic, count in counts.items())


def _wait_for_detections(listener: GraphListener, check: Callable[[], bool]) -> None:
    """Wait until the detector has worked for a while; `check` raises if a node fails."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not listener.statuses or time.monotonic() - listener.statuses[0][0] < SETTLE_S:
        check()
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the detector processed no frame within {START_TIMEOUT_S:.0f} s; see the log of kd up")
        time.sleep(POLL_S)


def _frame(elapsed_s: float, status: FrameStatus) -> LoadFrame:
    stage_ms = dict(zip(status.stage_names, status.stage_ms, strict=True))
    complete = not status.missing_cameras
    return LoadFrame(elapsed_s, status.outcome, status.reason, stage_ms, complete, status.reset_reason)
