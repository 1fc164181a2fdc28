"""The graph of `kd up replay_evaluate` for a given bag: its cameras are the bag's where the user names none."""

from dataclasses import replace
from pathlib import Path

from kd_perception.bringup.graph import Graph, replay_evaluate_graph
from kd_perception.errors import DataError
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.replay import ReplayOptions


def replayed_bag_graph(
    replay: ReplayOptions, detector: DetectorOptions, evaluator: EvaluatorOptions, graph: GraphOptions
) -> Graph:
    """As `replay_evaluate_graph`, on the cameras of `cameras_of_bag`, unless their topics have other names."""
    if detector.camera_topics == DetectorOptions().camera_topics:
        detector = replace(detector, camera_names=cameras_of_bag(replay.bag, detector.camera_names))
    return replay_evaluate_graph(replay, detector, evaluator, graph)


def cameras_of_bag(bag: Path, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The `wanted` cameras; where these are the default ones, those that the bag holds, anchor first.

    Of a bag that cannot be read the `wanted`: replay refuses it with a sentence. The same where rosbags is not
    installed, which `ros2 launch` can do without.
    """
    if wanted != DetectorOptions().camera_names:
        return wanted
    try:
        from kd_perception.bags.cameras import bag_cameras  # only here: it needs rosbags

        recorded = bag_cameras(bag)
    except (DataError, ImportError):
        return wanted
    return recorded if recorded and set(recorded) != set(wanted) else wanted
