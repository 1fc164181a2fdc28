"""A student evaluated through the node graph: a bag is replayed into real processes, which record the detections."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2 import Reader

from kd_perception.bags.messages import typestore
from kd_perception.evaluation.replayed import cameras_of_bag, replayed_bag_graph
from kd_perception.evaluation.report import make_report
from kd_perception.evaluation.result_folder import (
    LOGS_FOLDER,
    PROCESSED,
    RESULTS_FILE,
    STATUS_FILE,
    RunReport,
    read_statuses,
)
from kd_perception.evaluation.results import Results, read_results
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.replay import ReplayOptions

SAMPLE_TOPIC = "/sample"


@dataclass(frozen=True)
class GraphRun:
    """One bag's outcome: result-file entries by sample, stage times (ms) of the processed frames, frames offered.

    In lockstep the keyframes are offered; in real time every image of the anchor camera, so that images lost by the
    network count as dropped.
    """

    results: Results
    stages: list[dict[str, float]]
    frames_in: int

    def report(self, model: str, engine: str) -> RunReport:
        """The run's report.json content."""
        return make_report(self.stages, frames_in=self.frames_in, model=model, engine=engine)


def replay_bag(
    replay: ReplayOptions,
    detector: DetectorOptions,
    out: Path,
    *,
    domain_id: int | None = None,
    echo: Callable[[str], None] = lambda line: None,
    timeout_s: float | None = None,
) -> GraphRun:
    """Play a bag through detector and evaluator as processes; they leave results, statuses and a bag in `out`.

    Raises GraphError (a KdError) with a node's own sentence when one fails, DataError when the evaluator left no
    readable files.
    """
    from kd_perception.bringup.processes import running  # only here: it needs ROS

    graph = replayed_bag_graph(replay, detector, EvaluatorOptions(out=out), GraphOptions(use_sim_time=True))
    with running(graph, domain_id=domain_id, log_folder=out / LOGS_FOLDER, echo=echo) as processes:
        processes.wait(timeout_s)
    keyframes, images = _offered(replay.bag, cameras_of_bag(replay.bag, detector.camera_names)[0])
    processed = {row.stamp_ns: row.stage_ms for row in read_statuses(out / STATUS_FILE) if row.outcome == PROCESSED}
    if replay.lockstep:
        processed = {stamp: stages for stamp, stages in processed.items() if stamp in keyframes}
    offered = len(keyframes) if replay.lockstep else images
    return GraphRun(read_results(out / RESULTS_FILE), list(processed.values()), offered)


def _offered(bag: Path, anchor: str) -> tuple[set[int], int]:
    """Stamps (ns) of the bag's keyframes, and how many images its anchor camera has."""
    with Reader(bag) as reader:
        connections = [connection for connection in reader.connections if connection.topic == SAMPLE_TOPIC]
        samples = [
            typestore().deserialize_cdr(data, connection.msgtype)
            for connection, _, data in reader.messages(connections=connections)
        ]
        images = sum(
            connection.msgcount for connection in reader.connections if connection.topic.startswith(f"/{anchor}/image")
        )
    return {sample.header.stamp.sec * 10**9 + sample.header.stamp.nanosec for sample in samples}, images
