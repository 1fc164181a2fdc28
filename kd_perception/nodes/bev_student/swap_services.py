"""How a user asks the running detector for another student, and reads what became of it.

The parameter `model` and the service `~/reload_student` ask for one, `~/swap_back` for the one before. Diagnostics say
what became of it: preparing takes longer than a callback may. Afterwards `model` names the file that runs.
"""

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from kd_perception.errors import KdError
from kd_perception.nodes.bev_student.student_swaps import StudentSwaps, SwapResult
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.outputs import Outputs
from kd_perception.options.detector import DetectorOptions
from kd_perception.resources import student_path
from kd_perception.runtime.pipeline_exchange import PipelineExchange

SWAPS, LAST_SWAP = "swaps", "last_swap"  # in diagnostics: number of results, and the last one
DONE, REFUSED = "done: ", "not done: "  # how the last one begins


class SwapServices:
    """The services and the parameter of a configured detector; `tell` may be called from any thread."""

    def __init__(self, node: ManagedNode[DetectorOptions], health: Health, outputs: Outputs) -> None:
        self._node, self._health, self._outputs = node, health, outputs
        self._told: deque[SwapResult] = deque()
        self._count, self._model = 0, ""

    def tell(self, result: SwapResult) -> None:
        """Report what became of a request, or that a student has failed; published by the thread that spins."""
        self._told.append(result)
        self._wake.trigger()

    def failed(self, sentence: str) -> None:
        """Report that the student before runs again, for the one that ran has failed."""
        self.tell(SwapResult(done=False, sentence=sentence))

    def open(self, students: PipelineExchange, swaps: StudentSwaps, ending: ExitStack) -> None:
        """Offer the services; `ending` takes the calls that end it."""
        self._students, self._swaps = students, swaps
        ending.callback(self._forget)
        node = self._node
        self._wake = node.create_guard_condition(self._settle)
        ending.callback(node.destroy_guard_condition, self._wake)
        for name, answer in (("reload_student", self._reload), ("swap_back", self._back)):
            ending.callback(node.destroy_service, node.create_service(Trigger, f"~/{name}", answer))
        ending.callback(self._name_what_runs)  # what is asked for and not ready by then is void
        ending.callback(swaps.stop)
        self._show()

    def _forget(self) -> None:
        """Both report to this object: without their names here, what they hold is freed at once, not some day."""
        del self._students, self._swaps

    def ask(self, options: DetectorOptions) -> str:
        """Have the student of these options run; returns a sentence, raises KdError if there is no such file."""
        file = student_path(options.student_file)
        self._swaps.request(file)
        return f"{file} is being prepared; diagnostics say in {LAST_SWAP} what becomes of it"

    def _reload(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answered(response, lambda: self.ask(self._node.settings))

    def _back(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answered(response, self._swaps.back)

    def _settle(self) -> None:
        """Publish the results that have come; with none to come, let the parameter name what runs."""
        while self._told:
            result = self._told.popleft()
            self._count += 1
            if result.done:  # two calls: rclpy wants each place to log at one level
                self._node.get_logger().info(result.sentence)
            else:
                self._node.get_logger().error(result.sentence)
            last = (DONE if result.done else REFUSED) + result.sentence
            self._health.detail({SWAPS: str(self._count), LAST_SWAP: last})
        self._show()
        if not self._swaps.preparing:
            self._name_what_runs()
        self._health.publish()

    def _show(self) -> None:
        """Which student runs since when, and which is kept."""
        running, before = self._students.chosen, self._students.before
        if running.student.model_id != self._model:
            self._model = self._outputs.model = running.student.model_id
            since = datetime.now(UTC).isoformat(timespec="seconds")
            self._health.detail({"model": self._model, "model_since": since, "engine": running.engine.name})
        self._health.detail({"model_before": "none" if before is None else before.student.model_id})

    def _name_what_runs(self) -> None:
        settings, runs = self._node.settings, self._students.chosen.student.path
        try:
            named = student_path(settings.student_file)
        except KdError:
            named = None
        if named == runs:
            return
        self._node.settings = replace(settings, model=runs)
        self._node.set_parameters([Parameter("model", value=str(runs))])


def _answered(response: Trigger.Response, act: Callable[[], str]) -> Trigger.Response:
    try:
        response.success, response.message = True, act()
    except KdError as error:
        response.success, response.message = False, str(error)
    return response
