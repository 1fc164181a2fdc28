"""A lifecycle node whose subclasses say what to open; closing, refusals and bugs are dealt with here, for all alike."""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from typing import Generic, TypeVar

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from kd_perception.errors import KdError
from kd_perception.nodes.common.node import ProcessNode, bug_report
from kd_perception.nodes.common.parameters import declare_parameters, read_parameters, watch_parameters

Options = TypeVar("Options")
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class ManagedNode(ProcessNode, Generic[Options]):
    """Its parameters are the fields of an options dataclass, which stay as they are from configure to cleanup.

    A refusal (KdError) is logged as a sentence, any other exception with its traceback: rclpy would swallow them. The
    transition then fails, what it had opened is closed, and the node may be tried again.
    """

    settings: Options | None = None  # None until configured

    def __init__(self, name: str, defaults: Options) -> None:
        """`defaults`: the parameters' defaults; raises ConfigError where parameter files have others not allowed."""
        super().__init__(name)
        self._kind = type(defaults)
        self._until_cleanup, self._until_deactivated = ExitStack(), ExitStack()
        declare_parameters(self, defaults)
        watch_parameters(self, self._kind, lambda: self.settings, self.follow)

    @property
    def niceness(self) -> int:
        """The option of this name, of nodes that have it."""
        return self.get_parameter("niceness").value if self.has_parameter("niceness") else 0

    @abstractmethod
    def configure(self, ending: ExitStack) -> None:
        """Open what lasts until cleanup, by `self.settings`; `ending` takes the calls that close it."""

    @abstractmethod
    def activate(self, ending: ExitStack) -> None:
        """Open what lasts until the node is deactivated; `ending` takes the calls that close it."""

    def follow(self, settings: Options) -> None:
        """Go on with these settings, of which live ones have changed; raises KdError to refuse them."""
        self.settings = settings

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters and configure."""

        def configure(ending: ExitStack) -> None:
            ending.callback(setattr, self, "settings", None)
            self.settings = read_parameters(self, self._kind)
            self.configure(ending)

        return self._attempt("configure", lambda: self._open(configure, self._until_cleanup), FAILURE)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate, and then let lifecycle publishers publish."""
        outcome = self._attempt("activate", lambda: self._open(self.activate, self._until_deactivated), FAILURE)
        return super().on_activate(state) if outcome == SUCCESS else outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close what activation has opened; lifecycle publishers may publish until then."""
        outcome = self._attempt("deactivate", self._until_deactivated.close, ERROR)
        return super().on_deactivate(state) if outcome == SUCCESS else outcome

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close what configuration has opened."""
        return self._attempt("cleanup", self._until_cleanup.close, ERROR)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close everything, from whatever state."""
        return self._attempt("shutdown", self.close, ERROR)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that closes has failed: close the rest; the node is then unconfigured."""
        return self._attempt("error processing", self.close, FAILURE)

    def close(self) -> None:
        """Close everything; also called when the process ends."""
        with self._until_cleanup, self._until_deactivated:
            pass

    @staticmethod
    def _open(begin: Callable[[ExitStack], None], kept: ExitStack) -> None:
        """Call `begin` with a stack: what is on it moves to `kept`, or is closed if `begin` raises."""
        with ExitStack() as ending:
            begin(ending)
            kept.push(ending.pop_all())

    def _attempt(
        self, transition: str, action: Callable[[], None], failed: TransitionCallbackReturn
    ) -> TransitionCallbackReturn:
        """The outcome of a part of a transition; what it raises is logged."""
        try:
            action()
        except KdError as error:
            self.get_logger().error(str(error))
            return failed
        except Exception as error:
            self.get_logger().error(bug_report(transition, error))
            return failed
        return SUCCESS
