"""Brings a graph up as plain processes where ros2cli is absent: start, configure, activate, watch, tear down."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from kd_perception.bringup.child_process import NodeProcess
from kd_perception.bringup.graph import Graph, GraphError, NodeSpec
from kd_perception.bringup.lifecycle_client import LifecycleClient, TransitionError
from kd_perception.interrupts import Interrupts, handled_interrupts
from kd_perception.resources import use_middleware_profile
from kd_perception.shared_memory import remove_orphaned_segments

POLL_S = 0.05
STOP_GRACE_S = 5.0


class GraphProcesses:
    """The processes of a running graph; `report` gets a sentence when it goes on without a node."""

    def __init__(self, graph: Graph, nodes: Sequence[NodeProcess], report: Callable[[str], None]) -> None:
        self.graph = graph
        self.nodes = tuple(nodes)
        self.active = False  # once it is, dispensable nodes may end
        self._report = report
        self._missed: set[str] = set()
        self._looks_again: LifecycleClient | None = None

    def activated(self, by: LifecycleClient) -> None:
        """All nodes are active. `by` looks for namesakes once more, when it knows all nodes."""
        self.active, self._looks_again = True, by

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the required node succeeds.

        Raises GraphError if it fails, if another node ends, or after `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.finished():
            if deadline is not None and time.monotonic() > deadline:
                raise GraphError(f"the graph did not finish within {timeout_s:.0f} s; look at the nodes' logs")
            time.sleep(POLL_S)

    def finished(self) -> bool:
        """Whether the required node has succeeded; raises GraphError as `wait` does, NamesakeError where another node
        of a name is discovered late."""
        client = self._looks_again
        if client is not None and client.knows_all():
            self._looks_again = None
            client.refuse_late_namesakes()
        required = self.graph.required
        dispensable = {spec.name for spec in self.graph.nodes if spec.dispensable}
        for node in self.nodes:
            if node.exit_code is None:
                continue
            if required is not None and node.name == required.name and node.exit_code == 0:
                return True
            if self.active and node.name in dispensable:
                self._report_missing(node)
                continue
            raise GraphError(f"{node.name} ended with status {node.exit_code}: {node.last_words()}")
        return False

    def _report_missing(self, node: NodeProcess) -> None:
        """Say once that a node has ended and the others go on."""
        if node.name not in self._missed:
            self._missed.add(node.name)
            why = f"{node.name} ended with status {node.exit_code}: {node.last_words()}"
            self._report(f"{why}; the other nodes go on without it")


@contextmanager
def running(
    graph: Graph,
    domain_id: int | None = None,
    log_folder: Path | None = None,
    echo: Callable[[str], None] = lambda line: None,
) -> Iterator[GraphProcesses]:
    """Start a graph's processes, configure and activate all nodes in order; end them when the block is left.

    `domain_id` overrides ROS_DOMAIN_ID; every log line goes to `echo` and, per node, into `log_folder`. Raises
    GraphError when a node cannot be started, configured or activated.
    """
    environment = _environment(domain_id, log_folder)
    started: list[NodeProcess] = []
    with ExitStack() as cleanup:
        interrupts = cleanup.enter_context(handled_interrupts())
        scratch = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="kd_up_")))
        cleanup.callback(_stop, started, interrupts)
        if log_folder is not None:
            log_folder.mkdir(parents=True, exist_ok=True)
        names = [node.name for node in graph.nodes]
        client = LifecycleClient(names, domain_id, namespace=graph.namespace, report=echo)
        cleanup.enter_context(client)
        client.look_for_namesakes()
        for name, command in _commands(graph, scratch):
            log = None if log_folder is None else log_folder / f"{name}.log"
            with interrupts.held():  # a process that is started but not yet listed would be orphaned
                started.append(NodeProcess(name, command, environment, log, echo))
        processes = GraphProcesses(graph, started, echo)
        _activate(processes, client)
        processes.activated(client)
        yield processes


def node_command(node: NodeSpec, folder: Path, namespace: str = "") -> list[str]:
    """The command line that runs a node with this Python; a file in `folder` carries its parameters with their
    types."""
    parameters = {key: list(value) if isinstance(value, tuple) else value for key, value in node.parameters.items()}
    overrides = folder / f"{node.name}.yaml"
    overrides.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    command = [
        sys.executable,
        "-m",
        f"kd_perception.nodes.{node.executable}.node",
        "--ros-args",
        "-r",
        f"__node:={node.name}",
        *_in_namespace(namespace),
    ]
    for file in (*node.parameter_files, overrides):
        command += ["--params-file", str(file)]
    return [*command, *_remapped(node.remappings)]


def _in_namespace(namespace: str) -> list[str]:
    return ["-r", f"__ns:=/{namespace.removeprefix('/')}"] if namespace else []


def _remapped(remappings: Sequence[tuple[str, str]]) -> list[str]:
    return [word for source, target in remappings for word in ("-r", f"{source}:={target}")]


def _commands(graph: Graph, folder: Path) -> Iterator[tuple[str, list[str]]]:
    for node in graph.nodes:
        yield node.name, node_command(node, folder, graph.namespace)
    if graph.rviz is not None:
        rviz = shutil.which("rviz2")
        if rviz is None:
            raise GraphError(
                "rviz2 is not installed, so the graph cannot be shown; install ROS 2's rviz2 or leave out --rviz"
            )
        sim_time = f"use_sim_time:={str(graph.rviz.use_sim_time).lower()}"
        names = [*_in_namespace(graph.namespace), *_remapped(graph.rviz.remappings)]
        yield "rviz2", [rviz, "-d", str(graph.rviz.config), "--ros-args", "-p", sim_time, *names]


def _environment(domain_id: int | None, log_folder: Path | None) -> dict[str, str]:
    """The children's environment; the participant of this process uses the middleware's profile, too."""
    use_middleware_profile()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "0"}
    if domain_id is not None:
        environment["ROS_DOMAIN_ID"] = str(domain_id)
    if log_folder is not None:
        environment.setdefault("ROS_LOG_DIR", str(log_folder / "ros"))
    return environment


def _activate(processes: GraphProcesses, client: LifecycleClient) -> None:
    """Configure and activate all nodes; the error of a node that refuses quotes its last logged error."""
    try:
        client.bring_up(stop=processes.finished)
    except TransitionError as error:
        time.sleep(POLL_S)  # the log line may come a moment after the response
        node = next(node for node in processes.nodes if node.name == error.node)
        raise GraphError(f"{error}: {node.last_words()}") from error


def _stop(nodes: Sequence[NodeProcess], interrupts: Interrupts) -> None:
    """Send SIGTERM, then SIGKILL to what still runs; a further signal to us meanwhile ends the grace period."""
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
    remove_orphaned_segments()  # of those that were killed
