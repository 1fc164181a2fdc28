"""`kd up`: a node graph as plain processes, where ros2cli is absent."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kd_perception.bringup.graph import bev_student_graph, replay_evaluate_graph
from kd_perception.bringup.processes import GraphError, running
from kd_perception.datasets.nuscenes import CAMERA_CHANNELS
from kd_perception.resources import SHIPPED_STUDENT, resource


class GraphName(StrEnum):
    """Graphs that `kd up` knows."""

    BEV_STUDENT = "bev_student"
    REPLAY_EVALUATE = "replay_evaluate"


def up(
    graph: Annotated[
        GraphName,
        typer.Argument(help="bev_student: the detector on live topics; replay_evaluate: a bag through it, judged."),
    ],
    model: Annotated[
        Path | None, typer.Option(help="Student file written by kd export; default: the shipped one.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Inference engine: auto, openvino, onnxruntime, ...")] = "auto",
    cameras: Annotated[
        str, typer.Option(help="The rig's cameras in order, the anchor first, separated by commas.")
    ] = ",".join(CAMERA_CHANNELS),
    transport: Annotated[
        str, typer.Option(help="bev_student: what cameras publish, compressed or raw.")
    ] = "compressed",
    score_threshold: Annotated[float, typer.Option(help="Lowest score of a published box.", min=0.0, max=1.0)] = 0.1,
    threads: Annotated[int, typer.Option(help="Threads of the engine; 0 lets it choose.", min=0)] = 0,
    use_sim_time: Annotated[bool, typer.Option(help="bev_student: follow /clock.")] = False,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="bev_student: open (build and cache) the engine, then end.")
    ] = False,
    bag: Annotated[Path | None, typer.Option(help="replay_evaluate: the rosbag2.")] = None,
    out: Annotated[Path, typer.Option(help="replay_evaluate: folder of the results.")] = Path("out/replay"),
    dataroot: Annotated[
        Path | None, typer.Option(help="replay_evaluate: data set with the truth, for the metric.")
    ] = None,
    version: Annotated[str, typer.Option(help="replay_evaluate: name of its tables' folder.")] = "",
    lockstep: Annotated[
        bool, typer.Option(help="replay_evaluate: wait for every answer; --no-lockstep plays in real time.")
    ] = True,
    rate: Annotated[float, typer.Option(help="replay_evaluate: speed in real time.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="replay_evaluate: play again and again.")] = False,
    visualize: Annotated[
        bool, typer.Option("--visualize", help="Also publish pictures: bird's-eye view and camera overlays.")
    ] = False,
    rviz: Annotated[bool, typer.Option("--rviz", help="Also open RViz.")] = False,
) -> None:
    """Bring a node graph up as plain processes, configured and activated, until it ends or Ctrl-C.

    Without ros2cli this is what `ros2 launch kd_perception <graph>.launch.py` does.
    """
    from rich.console import Console

    model = model or resource(SHIPPED_STUDENT)
    channels = tuple(name for name in cameras.split(",") if name)
    if graph is GraphName.REPLAY_EVALUATE:
        if bag is None:
            raise GraphError("replay_evaluate needs a bag; pass --bag (kd bag writes one)")
        description = replay_evaluate_graph(
            bag,
            model,
            out,
            engine,
            channels,
            dataroot,
            version,
            lockstep,
            rate,
            loop,
            score_threshold,
            threads,
            True,
            visualize,
            rviz,
        )
    else:
        description = bev_student_graph(
            model, engine, channels, transport, score_threshold, threads, use_sim_time, build_only, visualize, rviz
        )
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with running(description, echo=console.print) as processes:
        processes.wait()
