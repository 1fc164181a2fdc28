"""`kd replay`: play a bag into the running graph, with a progress bar."""

from pathlib import Path
from typing import Annotated

import typer


def replay(
    bag: Annotated[Path, typer.Argument(help="rosbag2 folder, or a single .mcap or .db3 file.")],
    rate: Annotated[float, typer.Option(help="Speed of replay; 1 is real time.", min=0.001, max=1000.0)] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end, until interrupted.")] = False,
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="After every Sample wait for the detector's FrameStatus.")
    ] = False,
    wait_for: Annotated[
        list[str] | None, typer.Option(help="Start when so many listen to a topic, e.g. /CAM_FRONT/image/compressed=1.")
    ] = None,
    detector: Annotated[str, typer.Option(help="The node whose answers --lockstep waits for.")] = "/bev_student",
) -> None:
    """Play a bag into the running graph, with /clock: in real time, or in lockstep for evaluation.

    Lockstep starts when the detector is active and listens.
    """
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter
    from rich.progress import Progress

    from kd_perception.nodes.common.node import run
    from kd_perception.nodes.replay.node import Replay

    values = {
        "bag": str(bag),
        "rate": rate,
        "loop": loop,
        "lockstep": lockstep,
        "wait_for_subscribers": wait_for or [""],
        "detector": detector,
    }
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    arguments = ["--ros-args", "-r", f"replay:~/input/status:={detector}/output/status", "--log-level", "warn"]
    with Progress() as bars:
        task = bars.add_task(f"replaying {bag.name}", total=None)

        def create() -> Replay:
            node = Replay(overrides, lambda played, total: bars.update(task, completed=played, total=total))
            if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
                node.exit_code = 1
            else:
                node.trigger_activate()
            return node

        code = run(create, arguments)
    if Replay.interrupted.is_set():
        raise KeyboardInterrupt
    if code:
        raise typer.Exit(code)
