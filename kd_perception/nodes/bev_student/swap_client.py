"""Asks a running detector for another student, and waits for what becomes of it; for machines without ros2cli, too."""

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from kd_perception.bringup.own_node import OwnNode
from kd_perception.errors import KdError
from kd_perception.nodes.bev_student.student_swaps import SwapResult
from kd_perception.nodes.bev_student.swap_services import DONE, LAST_SWAP, REFUSED, SWAPS
from kd_perception.nodes.common.health import TASK
from kd_perception.ros.qos import DIAGNOSTICS

ANSWER_S = 20.0  # discovery, and a service that answers at once
SWAP_S = 900.0  # an engine may be built


class SwapError(KdError):
    """The detector is not there, or does not answer."""


class SwapClient(OwnNode):
    """Asks the detector of this name, as `bev_student` or `/robot1/bev_student`."""

    def __init__(self, detector: str, domain_id: int | None = None) -> None:
        """`domain_id` overrides ROS_DOMAIN_ID."""
        super().__init__("swap_client", domain_id)
        self._name = self.node.resolve_service_name(detector)
        self._values: dict[str, str] = {}  # of its newest diagnostics
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, DIAGNOSTICS)

    def swap(self, file: str) -> SwapResult:
        """Have this student file run, or take it again if it is the one that runs; raises SwapError without answer."""
        results = self._results()
        (named,) = self._call(GetParameters, "get_parameters", GetParameters.Request(names=["model"])).values
        if named.string_value == file:
            answer = self._call(Trigger, "reload_student", Trigger.Request())
            accepted, reason = answer.success, answer.message
        else:
            model = Parameter("model", value=file).to_parameter_msg()
            (answer,) = self._call(SetParameters, "set_parameters", SetParameters.Request(parameters=[model])).results
            accepted, reason = answer.successful, answer.reason
        if not accepted:
            return SwapResult(done=False, sentence=reason)
        if not self.wait(lambda: int(self._values.get(SWAPS, "0")) > results, SWAP_S):
            raise SwapError(f"{self._name} has not said within {SWAP_S:.0f} s what became of {file}; see its log")
        last = self._values[LAST_SWAP]
        return SwapResult(done=last.startswith(DONE), sentence=last.removeprefix(DONE).removeprefix(REFUSED))

    def back(self) -> SwapResult:
        """Have the student before run again; raises SwapError without answer."""
        self._results()
        answer = self._call(Trigger, "swap_back", Trigger.Request())
        return SwapResult(answer.success, answer.message)

    def _results(self) -> int:
        """How many results the detector has had so far."""
        if not self.wait(lambda: self._values, ANSWER_S):
            raise SwapError(
                f"no detector called {self._name} reports on /diagnostics; start and configure it, or give its "
                "namespace and ROS_DOMAIN_ID"
            )
        return int(self._values.get(SWAPS, "0"))

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self._name.lstrip('/')}: {TASK}":
                self._values = {entry.key: entry.value for entry in status.values}

    def _call(self, kind: type, service: str, request: object) -> object:
        client = self.node.create_client(kind, f"{self._name}/{service}")
        if self.wait(client.service_is_ready, ANSWER_S):
            response = client.call_async(request)
            if self.wait(response.done, ANSWER_S):
                return response.result()
        raise SwapError(f"{self._name} does not answer {service} within {ANSWER_S:.0f} s; see its log")
