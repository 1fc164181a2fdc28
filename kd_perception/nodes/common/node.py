"""A node as a process: start, spin, stop on the first SIGINT, SIGTERM or SIGHUP, without a traceback."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

import rclpy
from rclpy.client import Client
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.signals import SignalHandlerOptions

from kd_perception.interrupts import ignore_all, stop_signals
from kd_perception.resources import use_middleware_profile

POLL_S = 0.02
SPIN_S = 0.1  # how soon a signal is noticed
CALL_POLL_S = 0.1


class HasSubscribers(Protocol):
    """A publisher that counts its subscribers."""

    def get_subscription_count(self) -> int:
        """Number of matched subscriptions."""


class ProcessNode(LifecycleNode):
    """A lifecycle node that can end its own process by setting `exit_code` (from any thread).

    The first SIGINT, SIGTERM or SIGHUP sets `interrupted` for the whole process; long waits end then. The middleware
    runs until everything is closed in order: a signal never invalidates it between two lines.
    """

    interrupted: ClassVar[threading.Event] = threading.Event()
    exit_code: int | None = None

    def close(self) -> None:
        """Release threads and files; called once when the process ends, in whatever state the node is."""


def run(create: Callable[[], ProcessNode], arguments: Sequence[str] | None = None, threads: int = 1) -> int:
    """Run a node, with callbacks in `threads`; exit status: 0 if interrupted, its own, or 1 if it fails."""
    listen_to_signals()
    use_middleware_profile()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    code = 0
    try:
        node = create()
        executor = SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(num_threads=threads)
        executor.add_node(node)
        while not node.interrupted.is_set() and node.exit_code is None:
            executor.spin_once(timeout_sec=SPIN_S)
        code = node.exit_code or 0
    except Exception as error:  # a bad command line or parameter file: rclpy has many exception types for them
        print(f"the node cannot run: {error}; check its arguments and parameter files", file=sys.stderr)
        code = 1
    finally:
        if node is not None:
            node.close()
        rclpy.try_shutdown()
        ignore_all()  # the interpreter's end restores the default, which kills
    return code


def listen_to_signals() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP set `ProcessNode.interrupted` and do nothing else."""
    for number in stop_signals():
        signal.signal(number, lambda *_: ProcessNode.interrupted.set())


def wait_for_subscribers(
    wanted: Sequence[str],
    publishers: dict[str, HasSubscribers],
    timeout_s: float,
    give_up: Callable[[], bool],
) -> str:
    """Block until each publisher named in 'topic=count' entries has that many matched subscriptions.

    Returns '' or, after `timeout_s` or when `give_up()` turns true, a sentence that names the topics without enough
    subscribers. Discovery runs in threads of the middleware, so this may block a callback. Topics that `publishers`
    lacks are ignored: a bag need not have them.
    """
    counts = {topic: int(count) for topic, _, count in (entry.partition("=") for entry in wanted)}
    deadline = time.monotonic() + timeout_s
    while True:
        missing = [
            f"{topic} ({publishers[topic].get_subscription_count()} of {count})"
            for topic, count in counts.items()
            if topic in publishers and publishers[topic].get_subscription_count() < count
        ]
        if not missing:
            return ""
        if time.monotonic() > deadline or ProcessNode.interrupted.is_set() or give_up():
            names = ", ".join(missing)
            return f"subscribers of {names} are missing after {timeout_s:.0f} s; start the nodes that listen"
        time.sleep(POLL_S)


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
