"""`kd swap`: another student file for the running detector, where ros2cli is absent."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def swap(
    *,
    file: Annotated[
        Path | None, typer.Argument(help="Student file (.onnx), or the name of a shipped one; the same again: reload.")
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Go back to the student before.")] = False,
    namespace: Annotated[str, typer.Option(help="Namespace of the robot.")] = "",
) -> None:
    """Have the running detector take another student file between two frames, and say what became of it.

    It prepares the file next to the student that runs. A file that is broken or does not fit changes nothing. Exit
    status 0 if the student that was asked for runs, 1 if not.
    """
    from kd_perception.nodes.bev_student.swap_client import SwapClient  # only here: it needs ROS
    from kd_perception.resources import use_middleware_profile

    if back == (file is not None):
        raise typer.BadParameter("give either a student file or --back")
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    use_middleware_profile()
    detector = "/".join(["", *filter(None, namespace.split("/")), "bev_student"])
    with SwapClient(detector) as client, console.status("waiting for the detector"):
        result = client.back() if file is None else client.swap(str(file.resolve() if file.is_file() else file))
    console.print(result.sentence)
    if not result.done:
        raise typer.Exit(1)
