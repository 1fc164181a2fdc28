"""Brings a graph up as plain processes where ros2cli is absent: start, configure, activate, watch, tear down (`kd up`).

Node logs are passed on line by line and the last error of each node is kept, so that a failure is one sentence.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from kd_perception.errors import KdError
from kd_perception.graph import SHIPPED_MODEL, Graph, NodeSpec, bev_student_graph, replay_evaluate_graph
from kd_perception.lifecycle_client import LifecycleClient, TransitionError
from kd_perception.nuscenes import CAMERA_CHANNELS
from kd_perception.resources import resource, use_middleware_profile

POLL_S = 0.05
STOP_GRACE_S = 5.0
LAST_LINES = 20
_LOG_LINE = re.compile(r"^\[(?P<level>\w+)\] \[[\d.]+\] \[[^\]]+\]: (?P<text>.*)$")


class GraphError(KdError):
    """A node of the graph could not be started, configured or activated, or ended when it should not."""


class NodeProcess:
    """One node as a child process in a session of its own, so that Ctrl-C reaches it only through us."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: dict[str, str],
        log: Path | None,
        echo: Callable[[str], None],
    ) -> None:
        self.name = name
        self.errors: deque[str] = deque(maxlen=LAST_LINES)
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._echo = echo
        self._stopping = False
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        self._log = open(log, "w", encoding="utf-8") if log is not None else None  # noqa: SIM115 - closed by `finish`
        self._reader = threading.Thread(target=self._read, name=f"log-{name}", daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def last_words(self) -> str:
        """Its last logged error, or what it printed last."""
        self._reader.join(timeout=1.0 if self.exit_code is not None else 0.0)
        return next(iter([*reversed(self.errors), *reversed(self._lines)]), "it printed nothing")

    def signal(self, number: int) -> None:
        """Send a signal if it still runs."""
        self._stopping = True
        if self.exit_code is None:
            self.process.send_signal(number)

    def finish(self) -> None:
        """Wait for its end and close its log."""
        self.process.wait()
        self._reader.join(timeout=2.0)
        if self._log is not None:
            self._log.close()

    def _read(self) -> None:
        for line in self.process.stdout:
            line = line.rstrip("\n")
            match = _LOG_LINE.match(line)
            if match and match["level"] in ("ERROR", "FATAL"):
                self.errors.append(match["text"])
            self._lines.append(line)
            if self._log is not None:
                self._log.write(line + "\n")
                self._log.flush()
            if not self._stopping:
                self._echo(f"[{self.name}] {match['text'] if match else line}")


class Processes:
    """The processes of a running graph."""

    def __init__(self, graph: Graph, nodes: Sequence[NodeProcess]) -> None:
        self.graph = graph
        self.nodes = tuple(nodes)

    def wait(self, timeout_s: float | None = None) -> None:
        """Until the required node ends well; raises GraphError if it fails, another node ends, or after `timeout_s`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.finished():
            if deadline is not None and time.monotonic() > deadline:
                raise GraphError(f"the graph did not finish within {timeout_s:.0f} s; look at the nodes' logs")
            time.sleep(POLL_S)

    def finished(self) -> bool:
        """Whether the required node has ended well; raises GraphError as `wait` does."""
        required = self.graph.required
        for node in self.nodes:
            if node.exit_code is None:
                continue
            if required is not None and node.name == required.name and node.exit_code == 0:
                return True
            raise GraphError(f"{node.name} ended with status {node.exit_code}: {node.last_words()}")
        return False


@contextmanager
def running(
    graph: Graph,
    domain_id: int | None = None,
    log_folder: Path | None = None,
    echo: Callable[[str], None] = lambda line: None,
) -> Iterator[Processes]:
    """Start a graph's processes, configure and activate all nodes in order; on leaving, end them, whatever happened.

    `domain_id` overrides ROS_DOMAIN_ID; every log line goes to `echo` and, per node, into `log_folder`. Raises
    GraphError in a sentence when a node cannot be started, configured or activated.
    """
    environment = _environment(domain_id, log_folder)
    started: list[NodeProcess] = []
    with ExitStack() as cleanup:
        interrupts = cleanup.enter_context(_interrupts())
        scratch = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="kd_up_")))
        cleanup.callback(_stop, started, interrupts)
        if log_folder is not None:
            log_folder.mkdir(parents=True, exist_ok=True)
        for name, command in _commands(graph, scratch):
            log = None if log_folder is None else log_folder / f"{name}.log"
            with interrupts.held():  # between start and note of it, a process would be orphaned
                started.append(NodeProcess(name, command, environment, log, echo))
        processes = Processes(graph, started)
        _activate(graph, processes, domain_id)
        yield processes


def node_command(node: NodeSpec, folder: Path) -> list[str]:
    """The command line that runs a node with this Python; a file in `folder` carries its parameters with their
    types."""
    parameters = {key: list(value) if isinstance(value, tuple) else value for key, value in node.parameters.items()}
    overrides = folder / f"{node.name}.yaml"
    overrides.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    command = [
        sys.executable,
        "-m",
        f"kd_perception.nodes.{node.executable}",
        "--ros-args",
        "-r",
        f"__node:={node.name}",
    ]
    for file in (node.parameter_file, overrides):
        command += ["--params-file", str(file)] if file is not None else []
    for source, target in node.remappings:
        command += ["-r", f"{source}:={target}"]
    return command


def _commands(graph: Graph, folder: Path) -> Iterator[tuple[str, list[str]]]:
    for node in graph.nodes:
        yield node.name, node_command(node, folder)
    if graph.rviz is not None:
        rviz = shutil.which("rviz2")
        if rviz is None:
            raise GraphError(
                "rviz2 is not installed, so the graph cannot be shown; install ROS 2's rviz2 or leave out --rviz"
            )
        yield "rviz2", [rviz, "-d", str(graph.rviz)]


def _environment(domain_id: int | None, log_folder: Path | None) -> dict[str, str]:
    """The children's environment; the middleware's profile also counts for the participant of this process."""
    use_middleware_profile()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "0"}
    if domain_id is not None:
        environment["ROS_DOMAIN_ID"] = str(domain_id)
    if log_folder is not None:
        environment.setdefault("ROS_LOG_DIR", str(log_folder / "ros"))
    return environment


def _activate(graph: Graph, processes: Processes, domain_id: int | None) -> None:
    """Configure and activate all nodes; a node that refuses is quoted with its last logged error."""
    with LifecycleClient([node.name for node in graph.nodes], domain_id) as client:
        try:
            client.bring_up(stop=processes.finished)
        except TransitionError as error:
            time.sleep(POLL_S)  # the log line may be a moment behind the answer
            node = next(node for node in processes.nodes if node.name == error.node)
            raise GraphError(f"{error}: {node.last_words()}") from error


def _stop(nodes: Sequence[NodeProcess], interrupts: "Interrupts") -> None:
    """SIGTERM, then SIGKILL for what is left; while this lasts a further Ctrl-C only shortens the grace."""
    interrupts.only_noted = True
    before = interrupts.noted
    for node in reversed(nodes):
        node.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_GRACE_S
    while any(node.exit_code is None for node in nodes) and time.monotonic() < deadline and interrupts.noted == before:
        time.sleep(POLL_S)
    for node in nodes:
        node.signal(signal.SIGKILL)
        node.finish()


class Interrupts:
    """Ctrl-C raises KeyboardInterrupt once. Later ones, which would break the cleaning up, are only noted."""

    def __init__(self) -> None:
        self.only_noted = False
        self.noted = 0

    def __call__(self, *_: object) -> None:
        """The handler of SIGINT."""
        if self.only_noted:
            self.noted += 1
            return
        self.only_noted = True
        raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block Ctrl-C waits for the block's end."""
        self.only_noted, before = True, self.noted
        yield
        self.only_noted = self.noted > before
        if self.only_noted:
            raise KeyboardInterrupt


@contextmanager
def _interrupts() -> Iterator[Interrupts]:
    """Handles SIGINT inside the block (in other threads than the main one it never comes)."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    previous = signal.signal(signal.SIGINT, interrupts)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, previous)


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

    model = model or resource(SHIPPED_MODEL)
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
