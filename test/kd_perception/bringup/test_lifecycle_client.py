"""The client of lifecycle services against a node whose answers, or whose ears, fail."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from support.domains import free_domain

from kd_perception.bringup import lifecycle_client
from kd_perception.bringup.lifecycle_client import ACTIVATE, CONFIGURE, LifecycleClient, NamesakeError, TransitionError

NAME = "forgetful"
GOALS = {CONFIGURE: State.PRIMARY_STATE_INACTIVE, ACTIVATE: State.PRIMARY_STATE_ACTIVE}


class LostError(Exception):
    """Thrown out of a service's callback: the answer is never sent."""


class ForgetfulNode:
    """Lifecycle services; `deaf` requests are dropped unheard, the next `mute` ones carried out without an answer."""

    def __init__(self, deaf: int, mute: int, refuses: bool, context: Context) -> None:
        self.deaf, self.mute, self.refuses = deaf, mute, refuses
        self.state, self.requests = State.PRIMARY_STATE_UNCONFIGURED, 0
        self.node = rclpy.create_node(NAME, context=context)
        self.node.create_service(ChangeState, f"/{NAME}/change_state", self.change)
        self.node.create_service(GetState, f"/{NAME}/get_state", self.tell)

    def change(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        self.requests += 1
        if self.deaf > 0:
            self.deaf -= 1
            raise LostError
        if not self.refuses:
            self.state = GOALS[request.transition.id]
        if self.mute > 0:
            self.mute -= 1
            raise LostError
        response.success = not self.refuses
        return response

    def tell(self, request: GetState.Request, response: GetState.Response) -> GetState.Response:
        response.current_state.id = self.state
        return response


@contextmanager
def forgetful(deaf: int = 0, mute: int = 0, refuses: bool = False) -> Iterator[tuple[ForgetfulNode, LifecycleClient]]:
    domain, context = free_domain(), Context()
    context.init(domain_id=domain)
    served = ForgetfulNode(deaf, mute, refuses, context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(served.node)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                executor.spin_once(timeout_sec=0.05)
            except LostError:
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with LifecycleClient([NAME], domain) as client:
            yield served, client
    finally:
        ended.set()
        thread.join()
        executor.shutdown()
        served.node.destroy_node()
        context.try_shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lifecycle_client, "ASK_S", 0.3)


def test_a_lost_answer_is_made_up_for_by_the_state():
    with forgetful(mute=1) as (served, client):
        client.change(NAME, CONFIGURE)
        client.change(NAME, ACTIVATE)
    assert (served.state, served.requests) == (State.PRIMARY_STATE_ACTIVE, 2)


def test_a_lost_request_is_sent_again():
    with forgetful(deaf=1) as (served, client):
        client.change(NAME, CONFIGURE)
    assert (served.state, served.requests) == (State.PRIMARY_STATE_INACTIVE, 2)


def test_a_refusal_whose_answer_is_lost_is_asked_for_again():
    with forgetful(mute=1, refuses=True) as (served, client):
        with pytest.raises(TransitionError, match="forgetful could not be configured"):
            client.change(NAME, CONFIGURE)
    assert served.requests == 2


def test_a_node_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(lifecycle_client, "TRANSITION_TIMEOUT_S", 1.0)
    with forgetful(deaf=100) as (_, client):
        with pytest.raises(TransitionError, match="forgetful was not configured within 1 s"):
            client.change(NAME, CONFIGURE)


def test_waiting_ends_when_told_to_stop():
    calls = iter([False] * 5)
    with forgetful(deaf=100) as (_, client):
        client.change(NAME, CONFIGURE, stop=lambda: next(calls, True))


def test_a_node_that_was_configured_before_ours_came_is_a_namesake():
    with forgetful(refuses=True) as (served, client):
        served.state = State.PRIMARY_STATE_ACTIVE
        with pytest.raises(NamesakeError, match="^another node is called /forgetful; end it, or use"):
            client.bring_up()
        served.state = State.PRIMARY_STATE_UNCONFIGURED
        with pytest.raises(TransitionError, match="forgetful could not be configured"):
            client.bring_up()
