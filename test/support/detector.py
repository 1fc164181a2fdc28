"""A running detector for tests, its own or shared: fed by a painted rig, and what it has published."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64

from kd_msgs.msg import Detection3DArray, FrameStatus
from kd_perception.bringup.domains import held_domain
from kd_perception.bringup.graph import bev_student_graph
from kd_perception.bringup.processes import GraphProcesses, running
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.option import Value
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.student.spec import StudentSpec
from support.fake_student import SPEC, write_fake_student
from support.graph import PaintedRig, Peer

S = 1_000_000_000
T0 = 1_700_000_000 * S


class Bench:
    """A running detector, the rig that feeds it, and what it has published; `now_ns` is the newest stamp it was given
    by `next_stamp`."""

    def __init__(self, rig: PaintedRig, peer: Peer, processes: GraphProcesses, domain: int) -> None:
        self.rig, self.peer, self.processes, self.domain = rig, peer, processes, domain
        self.now_ns = T0
        self.objects = peer.listen(Detection3DArray, "/bev_student/output/objects")
        self.statuses = peer.listen(FrameStatus, "/bev_student/output/status")
        self.diagnostics = peer.listen(DiagnosticArray, "/diagnostics")
        self.totals = peer.listen(Float64, "/bev_student/debug/processing_time/total_ms")

    def next_stamp(self, step_ns: int = S) -> int:
        """A stamp that comes after all before: tests that share a detector must not turn its time back."""
        self.now_ns += step_ns
        return self.now_ns

    def forget(self) -> None:
        """Forget what was published; the detector must process a good frame well, or the test before has broken it."""
        self.works(self.next_stamp())
        for messages in (self.objects, self.statuses, self.diagnostics, self.totals):
            messages.clear()

    def status(self, stamp_ns: int) -> FrameStatus:
        """Wait for the status of a frame."""
        return self._stamped(self.statuses, stamp_ns)

    def found(self, stamp_ns: int) -> Detection3DArray:
        """Wait for the detections of a frame."""
        return self._stamped(self.objects, stamp_ns)

    def _stamped(self, messages: list, stamp_ns: int) -> object:
        return self.peer.until(lambda: next((m for m in messages if to_nanoseconds(m.header.stamp) == stamp_ns), None))

    def reported(self, text: str) -> DiagnosticArray:
        """Wait for diagnostics whose message contains a text."""
        return self.peer.until(lambda: next((d for d in self.diagnostics if text in d.status[0].message), None))

    def counter(self, name: str) -> int:
        """A counter, by a report that was made after this call."""
        asked_ns = time.time_ns()  # as the node's clock has it
        self.peer.until(lambda: self.diagnostics and to_nanoseconds(self.diagnostics[-1].header.stamp) >= asked_ns)
        return self.last_counter(name)

    def last_counter(self, name: str) -> int:
        """A counter by the newest report that has come; 0 if none has."""
        return int(values(self.diagnostics[-1]).get(name, "0")) if self.diagnostics else 0

    def counted(self, name: str, count: int) -> None:
        """Wait until a counter has reached a value."""
        self.peer.until(lambda: self.last_counter(name) >= count)

    def shoot_until(self, good: Callable[[FrameStatus], bool], timeout_s: float = 90.0) -> FrameStatus:
        """Shoot frame after frame until one's status is good: other topics than images keep their own time."""
        found = []

        def shot() -> bool:
            self.now_ns = max([self.now_ns, *(to_nanoseconds(s.header.stamp) for s in self.statuses[-1:])])
            stamp_ns = self.next_stamp(S // 10)
            self.rig.shoot(stamp_ns)
            found.append(self.status(stamp_ns))
            return good(found[-1])

        self.peer.until(shot, timeout_s)
        return found[-1]

    def works(self, stamp_ns: int) -> None:
        """The node still processes a good frame well."""
        self.rig.shoot(stamp_ns)
        assert self.status(stamp_ns).outcome == FrameStatus.ANSWERED
        assert len(self.found(stamp_ns).detections) == 1


def values(diagnostics: DiagnosticArray) -> dict[str, str]:
    """What one report holds."""
    return {entry.key: entry.value for entry in diagnostics.status[0].values}


class SharedDetector:
    """One detector for many tests; a test that has left it broken costs the next one a start, not its result."""

    def __init__(self, folder: Path, **parameters: object) -> None:
        """`folder` takes the student file; `parameters` as in `bench`."""
        self._start = partial(bench, folder, **parameters)
        self._stack = ExitStack()
        self._running: Bench | None = None

    def ready(self) -> Bench:
        """The detector, with nothing left of the test before."""
        if self._running is not None:
            try:
                self._running.forget()
            except AssertionError:
                self._running = None
                self._stack.close()  # fails where the node has died: nobody else may have noticed
        if self._running is None:
            self._running = self._stack.enter_context(self._start())
            self._running.forget()
        return self._running

    def close(self) -> None:
        """End it; fails where its node has died."""
        self._stack.close()


@contextmanager
def bench(
    folder: Path,
    *,
    calibrate: bool = True,
    count: int = 3,
    transport: str = "compressed",
    spec: StudentSpec = SPEC,
    **overrides: Value,
) -> Iterator[Bench]:
    """Run the detector on a painted rig; `overrides` are its options. Nothing is lost on the way, and cameras have
    a second to come: a busy machine must not decide what a test sees."""
    with held_domain() as domain, Peer(domain) as peer:
        rig = PaintedRig(peer, count, transport)
        model = write_fake_student(folder / "s.onnx", spec)
        given = {
            "model": model, "engine": "onnxruntime", "camera_names": tuple(rig.names), "transport": transport,
            "threads": 1, "reliable_input": True, "sync_deadline_ms": 1000.0, **overrides,
        }  # fmt: skip
        with running(bev_student_graph(DetectorOptions(**given), GraphOptions()), domain_id=domain) as processes:
            result = Bench(rig, peer, processes, domain)
            peer.until(lambda: rig.connected() and peer.node.count_publishers("/bev_student/output/status"))
            peer.until(lambda: result.diagnostics)  # its publishers know this listener by now
            if calibrate:
                rig.calibrate()
            yield result
            assert processes.nodes[0].exit_code is None, "the node must survive all this"
