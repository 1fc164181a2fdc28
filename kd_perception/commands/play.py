"""`kd replay`: play a bag into the running graph, with a progress bar."""

import typer

from kd_perception.commands.flags import takes
from kd_perception.options.arguments import Arguments
from kd_perception.options.replay import ReplayOptions

OFFERED = ("bag", "rate", "loop", "lockstep", "wait_for_subscribers", "detector")


@takes(Arguments(ReplayOptions(), OFFERED), positional="bag")
def replay(options: ReplayOptions) -> None:
    """Play a bag into the running graph and publish /clock.

    The bag plays in real time. With --lockstep it plays as fast as the detector processes it: playing starts when the
    detector is active and listens.
    """
    from rclpy.lifecycle import TransitionCallbackReturn
    from rich.progress import Progress

    from kd_perception.nodes.common.node import run
    from kd_perception.nodes.replay.node import Replay

    status = f"replay:~/input/status:={options.detector}/output/status"
    with Progress() as bars:
        task = bars.add_task(f"replaying {options.bag.name}", total=None)

        def create() -> Replay:
            node = Replay(options, lambda played, total: bars.update(task, completed=played, total=total))
            if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
                node.exit_code = 1
            else:
                node.trigger_activate()
            return node

        code = run(create, ["--ros-args", "-r", status, "--log-level", "warn"])
    if Replay.interrupted.is_set():
        raise KeyboardInterrupt
    if code:
        raise typer.Exit(code)
