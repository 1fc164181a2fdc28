"""`kd up`: a node graph as plain processes, where ros2cli is absent."""

import typer
from rich.console import Console

from kd_perception.bringup.graph import (
    BEV_STUDENT_ARGUMENTS,
    REPLAY_EVALUATE_ARGUMENTS,
    Graph,
    bev_student_graph,
)
from kd_perception.commands.flags import takes
from kd_perception.evaluation.replayed import replayed_bag_graph
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.options.teacher import TeacherOptions

up = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Start a graph of nodes as plain processes, and stop it with Ctrl-C, SIGTERM or SIGHUP.\n\n"
    "Use it where ros2cli is not installed; elsewhere [bold]ros2 launch kd_perception <graph>.launch.py[/bold] does "
    "the same.",
)


@up.command("bev_student")
@takes(*BEV_STUDENT_ARGUMENTS)
def _bev_student(
    detector: DetectorOptions, graph: GraphOptions, teacher: TeacherOptions, recorder: RecorderOptions
) -> None:
    """Run the detector on the topics of live cameras until Ctrl-C; with --continual, what teaches it next to it."""
    _run(bev_student_graph(detector, graph, teacher, recorder))


@up.command("replay_evaluate")
@takes(*REPLAY_EVALUATE_ARGUMENTS)
def _replay_evaluate(
    replay: ReplayOptions, detector: DetectorOptions, evaluator: EvaluatorOptions, graph: GraphOptions
) -> None:
    """Play a bag through the detector, record its detections, and score them if the data set is given.

    In lockstep, the default, replay waits until each keyframe is processed: use it for accuracy. With --no-lockstep
    the bag plays in real time: use that for latency and dropped frames.
    """
    _run(replayed_bag_graph(replay, detector, evaluator, graph))


def _run(graph: Graph) -> None:
    from kd_perception.bringup.processes import running  # only here: it needs ROS

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with running(graph, echo=console.print) as processes:
        processes.wait()
