"""A node as a process: start, spin, stop on the first SIGINT, SIGTERM or SIGHUP, without a traceback."""

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import ClassVar

import rclpy
from rclpy.client import Client
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions

from kd_perception.errors import ConfigError
from kd_perception.interrupts import ignore_all, stop_signals
from kd_perception.nodes.common.parameter_files import unreadable_parameters
from kd_perception.nodes.common.priority import lower_priority
from kd_perception.resources import use_middleware_profile
from kd_perception.ros.listeners import Listeners
from kd_perception.shared_memory import remove_orphaned_segments

POLL_S = 0.02
SPIN_S = 0.1  # how soon a signal is noticed
CALL_POLL_S = 0.1


class ProcessNode(LifecycleNode):
    """A lifecycle node that can end its own process by setting `exit_code` (from any thread).

    The first SIGINT, SIGTERM or SIGHUP sets `interrupted` for the whole process; long waits end then. The middleware
    runs until everything is closed in order: a signal never invalidates it between two lines.
    """

    interrupted: ClassVar[threading.Event] = threading.Event()
    exit_code: int | None = None

    @property
    def niceness(self) -> int:
        """How far the process steps back for others that want the processor; read when it starts."""
        return 0

    def close(self) -> None:
        """Release threads and files; called once when the process ends, in whatever state the node is."""


def run(
    create: Callable[[], ProcessNode],
    arguments: Sequence[str] | None = None,
    executor: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Run a node by such an executor; exit status: 0 if interrupted, its own, or 1 if it fails."""
    listen_to_signals()
    use_middleware_profile()
    remove_orphaned_segments()
    node = None
    code = 1
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = create()
        lower_priority(node.niceness)
    except Exception as error:  # a bad command line or parameter file: rclpy has many exception types for them
        why = unreadable_parameters(sys.argv if arguments is None else arguments) or str(error)
        get_logger("start").error(f"the node cannot run: {why}; check its arguments and parameter files")
    try:
        code = 1 if node is None else _spin(node, executor())
    finally:
        if node is not None:
            node.close()
        rclpy.try_shutdown()
        ignore_all()  # the interpreter's end restores the default, which kills
    return code


def _spin(node: ProcessNode, executor: Executor) -> int:
    """Run callbacks until the node ends or is interrupted; returns the exit status, 1 if a callback has a bug."""
    try:
        executor.add_node(node)
        while not node.interrupted.is_set() and node.exit_code is None:
            executor.spin_once(timeout_sec=SPIN_S)
    except Exception as error:
        node.get_logger().error(bug_report("a callback", error))
        return 1
    return node.exit_code or 0


def bug_report(what: str, error: Exception) -> str:
    """The first line says what failed and is what a bring-up quotes; the traceback follows."""
    trace = "".join(traceback.format_exception(error))
    return f"{what} failed with a bug ({type(error).__name__}: {error}); please report it\n{trace}"


def listen_to_signals() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP set `ProcessNode.interrupted` and do nothing else."""
    for number in stop_signals():
        signal.signal(number, lambda *_: ProcessNode.interrupted.set())


def wait_for_subscribers(
    node: Node,
    wanted: Sequence[str],
    publishers: dict[str, Publisher],
    timeout_s: float,
    give_up: Callable[[], bool],
) -> str:
    """Block until each publisher of `node` named in 'topic=count' entries has that many matched subscriptions.

    Returns '' or, after `timeout_s` or when `give_up()` turns true, a sentence that names the topics without enough
    subscribers. Discovery runs in threads of the middleware, so this may block a callback. Topics that `publishers`
    lacks are ignored: a bag need not have them. Raises ConfigError if an entry is written otherwise.
    """
    counts, listeners = _counts(wanted), Listeners(node)
    deadline = time.monotonic() + timeout_s
    while True:
        missing = [
            f"{topic} ({found} of {count})"
            for topic, count in counts.items()
            if topic in publishers and (found := listeners.count(publishers[topic])) < count
        ]
        if not missing:
            return ""
        if time.monotonic() > deadline or ProcessNode.interrupted.is_set() or give_up():
            names = ", ".join(missing)
            return f"subscribers of {names} are missing after {timeout_s:.0f} s; start the nodes that listen"
        time.sleep(POLL_S)


def _counts(wanted: Sequence[str]) -> dict[str, int]:
    """Topic -> number of subscribers."""
    parts = {entry: entry.rpartition("=") for entry in wanted}
    wrong = [entry for entry, (topic, _, count) in parts.items() if not topic or not count.isdecimal()]
    if wrong:
        raise ConfigError(f"parameter wait_for_subscribers has '{wrong[0]}'; write its entries as topic=count")
    return {topic: int(count) for topic, _, count in parts.values()}


def call_service(client: Client, request: object, timeout_s: float, give_up: Callable[[], bool]) -> object | None:
    """A service's response, or None after `timeout_s` or when `give_up()` turns true. Not for the thread that spins."""
    deadline = time.monotonic() + timeout_s
    while not client.wait_for_service(timeout_sec=CALL_POLL_S):
        if give_up() or time.monotonic() > deadline:
            return None
    done = threading.Event()
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    while not done.wait(CALL_POLL_S):
        if give_up() or time.monotonic() > deadline:
            client.remove_pending_request(future)
            return None
    return future.result()
