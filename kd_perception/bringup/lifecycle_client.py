"""Drives lifecycle nodes through their change_state services: configures all of them, then activates all of them.

When a node is activated, every topic that it waits for has its listeners. On a loaded machine a response can get lost.
The client therefore also asks for the node's state, and sends the request again where that state stays the same.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.task import Future

from kd_perception.bringup.namesakes import DISCOVERY_S, LATE_DISCOVERY_S, nodes_called, sentence, wait_until_alone
from kd_perception.bringup.own_node import OwnNode
from kd_perception.errors import KdError

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
_DONE = {CONFIGURE: "configured", ACTIVATE: "activated", DEACTIVATE: "deactivated", CLEANUP: "cleaned up"}
_GOAL = {
    CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
}
_CONFIGURED = (State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE)
_AT_REST = (State.PRIMARY_STATE_UNCONFIGURED, *_CONFIGURED)
ASK_S = 3.0  # between two requests for the state of a node that has not responded
IDLE_LOOKS = 3  # the request is sent again when the node is in another state of rest this often in a row
START_TIMEOUT_S = 60.0
TRANSITION_TIMEOUT_S = 600.0  # configuring may build an engine


class TransitionError(KdError):
    """A node did not appear or refused a transition; `node` is its name."""

    def __init__(self, node: str, sentence: str) -> None:
        super().__init__(sentence)
        self.node = node


class NamesakeError(KdError):
    """Another node has the name of one that was started: requests would reach both."""


class LifecycleClient(OwnNode):
    """Asks nodes for their transitions, and waits for them."""

    def __init__(
        self,
        names: Sequence[str],
        domain_id: int | None = None,
        *,
        namespace: str = "",
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """`names`: nodes to drive, relative ones in `namespace`; `domain_id` overrides ROS_DOMAIN_ID.

        `report` receives a sentence when bringing up takes longer than it should.
        """
        self._report = report
        self._others: set[str] = set()  # names that nodes have which ran before ours
        self._since_s = time.monotonic()
        super().__init__("lifecycle_client", domain_id, namespace=namespace, start_parameter_services=False)
        self._requests = {name: self.node.create_client(ChangeState, f"{name}/change_state") for name in names}
        self._states = {name: self.node.create_client(GetState, f"{name}/get_state") for name in names}

    def look_for_namesakes(self) -> None:
        """Call it before the nodes are started: those of their names that are seen now are others."""
        self.wait(lambda: False, DISCOVERY_S)
        self._others = {name for name in self._requests if self._count(name)}

    def bring_up(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Configure all nodes in order, then activate them; gives up quietly when `stop()` turns true.

        Raises TransitionError if a node does not appear or refuses, NamesakeError if another has its name; what `stop`
        raises passes through.
        """
        for name in self._requests:
            self.wait(partial(self._has_come, name), START_TIMEOUT_S, stop)
        self.wait(partial(self._has_run, DISCOVERY_S), DISCOVERY_S, stop)
        self._refuse_namesakes(stop)
        for transition in (CONFIGURE, ACTIVATE):
            for name in self._requests:
                self._change_own(name, transition, stop)

    def knows_all(self) -> bool:
        """Whether this client runs long enough to know every node, on a loaded machine too."""
        return self._has_run(LATE_DISCOVERY_S)

    def refuse_late_namesakes(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Once all are known, raise NamesakeError if one of the nodes is not alone; waits until then or `stop()`."""
        self.wait(self.knows_all, LATE_DISCOVERY_S, stop)
        self._refuse_namesakes(stop)

    def change(self, name: str, transition: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Bring one node through CONFIGURE, ACTIVATE, DEACTIVATE or CLEANUP; raises TransitionError if it refuses."""
        client = self._requests[name]
        if not self.wait(client.service_is_ready, START_TIMEOUT_S, stop):
            raise TransitionError(name, f"{name} did not offer its lifecycle services within {START_TIMEOUT_S:.0f} s")
        if stop():
            return
        request = ChangeState.Request(transition=Transition(id=transition))
        deadline = time.monotonic() + TRANSITION_TIMEOUT_S
        while not stop():
            response = client.call_async(request)
            succeeded = self._outcome(name, _GOAL[transition], response, deadline, stop)
            client.remove_pending_request(response)
            if succeeded:
                return
            if succeeded is not None:
                raise TransitionError(name, f"{name} could not be {_DONE[transition]}")
            if time.monotonic() > deadline:
                raise TransitionError(name, f"{name} was not {_DONE[transition]} within {TRANSITION_TIMEOUT_S:.0f} s")

    def _change_own(self, name: str, transition: int, stop: Callable[[], bool]) -> None:
        """`change`; a refusal may be that of a namesake that was seen late, while ours was not there yet.

        Ours was never configured before: a node that refuses to be because it is already is not ours.
        """
        try:
            self.change(name, transition, stop)
        except TransitionError:
            runs = transition == CONFIGURE and self._state(name, stop) in _CONFIGURED
            late = partial(self._has_run, LATE_DISCOVERY_S)  # by then a namesake would be known
            self.wait(lambda: runs or self._count(name) > 1 or late(), LATE_DISCOVERY_S, stop)
            if runs or self._count(name) > 1:
                raise NamesakeError(sentence(self._full_name(name))) from None
            raise

    def _refuse_namesakes(self, stop: Callable[[], bool]) -> None:
        for name in self._requests:
            if not wait_until_alone(self._full_name(name), self.node, stop, self._report) and not stop():
                raise NamesakeError(sentence(self._full_name(name)))

    def _has_run(self, seconds: float) -> bool:
        return time.monotonic() - self._since_s > seconds

    def _full_name(self, name: str) -> str:
        return self.node.resolve_service_name(name)

    def _count(self, name: str) -> int:
        return nodes_called(self._full_name(name), self.node)

    def _has_come(self, name: str) -> bool:
        """Whether a node of this name runs that is not an other; those may end meanwhile."""
        count = self._count(name)
        if count == 0:
            self._others.discard(name)
        return count > (name in self._others)

    def _outcome(
        self, name: str, goal: int, response: Future, deadline: float, stop: Callable[[], bool]
    ) -> bool | None:
        """Whether the node reaches its goal; None if it neither moves nor responds, after the deadline, or `stop()`.

        A node can refuse a request that was sent twice because it has carried out the first: then the state decides.
        """
        idle_looks = 0
        while time.monotonic() < deadline and not stop():
            self.wait(response.done, ASK_S, stop)
            if response.done() and response.result().success:
                return True
            state = self._state(name, stop)
            if state == goal:
                return True
            if response.done() and state in (*_AT_REST, State.PRIMARY_STATE_FINALIZED):  # else it may be on its way
                return False
            idle_looks = idle_looks + 1 if state in _AT_REST else 0
            if idle_looks == IDLE_LOOKS:
                return None
        return None

    def _state(self, name: str, stop: Callable[[], bool]) -> int | None:
        """The node's state; None without a response: most nodes cannot respond during a transition."""
        client = self._states[name]
        if not client.service_is_ready():
            return None
        response = client.call_async(GetState.Request())
        self.wait(response.done, ASK_S, stop)
        client.remove_pending_request(response)
        return response.result().current_state.id if response.done() else None
