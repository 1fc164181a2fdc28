"""A robot of `kd bench continual --loop`: detector, LiDAR teacher and recorder run on, while bags are replayed."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kd_bench.graph_listener import GraphListener
from kd_msgs.msg import FrameStatus
from kd_perception.bringup.domains import held_domain
from kd_perception.bringup.graph import Graph, replay_node
from kd_perception.bringup.processes import running
from kd_perception.datasets.rigs import LIDAR
from kd_perception.nodes.bev_student.student_swaps import SwapResult
from kd_perception.nodes.bev_student.swap_client import SwapClient
from kd_perception.options.graph import GraphOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.ros.stamps import to_nanoseconds

DETECTOR = "/bev_student"
REPLAY_TIMEOUT_S = 3600.0
FIRST_FRAME_S, POLL_S = 120.0, 0.02
LAST_FRAME_S = 20.0  # behind a bag's end, until the detector has said what became of its frames
SETTLE_S = 3.0  # then, until teacher and recorder, who wait 1.2 s for a student's answer, have done with the last one


@dataclass(frozen=True)
class Drive:
    """What became of the frames of bags: statuses in order of arrival, and the stamps (ns) that the bags offered."""

    statuses: tuple[FrameStatus, ...]
    offered: frozenset[int]

    @property
    def answered(self) -> set[int]:
        """Stamps (ns) of frames with detections."""
        done = (status for status in self.statuses if status.outcome == FrameStatus.ANSWERED)
        return {to_nanoseconds(status.header.stamp) for status in done}

    @property
    def lost(self) -> int:
        """Frames that were offered and not answered."""
        return len(self.offered - self.answered)

    @property
    def reasons(self) -> list[str]:
        """Why frames were not answered; a lost frame without one never came to the detector."""
        return [status.reason for status in self.statuses if status.outcome != FrameStatus.ANSWERED]

    @property
    def models(self) -> list[str]:
        """The students that answered, in the order of frames; the same one in a row counts once."""
        names = [status.model for status in self.statuses if status.outcome == FrameStatus.ANSWERED]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


@dataclass(frozen=True)
class DriveBag:
    """A bag, and the stamps (ns) of its keyframes, each of which is a frame."""

    path: Path
    stamps: frozenset[int]


@dataclass(frozen=True)
class RobotPlace:
    """The ROS domain of a robot, the folder of its logs, and how fast bags are replayed to it."""

    domain: int
    logs: Path
    rate: float


@dataclass(frozen=True)
class SwapDrive:
    """Replays of the same bags, the last one after a swap had ended; and what became of the swap."""

    drives: tuple[Drive, ...]
    result: SwapResult

    @property
    def lost(self) -> int:
        """Frames of all replays that were not answered."""
        return sum(drive.lost for drive in self.drives)

    @property
    def offered(self) -> int:
        """Frames of all replays."""
        return sum(len(drive.offered) for drive in self.drives)

    @property
    def models(self) -> list[str]:
        """The students that answered, in the order of frames; the same one in a row counts once."""
        names = [name for drive in self.drives for name in drive.models]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


class LearningRobot:
    """A running graph that bags are replayed into, one after the other, at `rate` times their speed."""

    def __init__(self, cameras: Sequence[str], listener: GraphListener, place: "RobotPlace") -> None:
        self._cameras, self._listener, self._place = cameras, listener, place

    def drive(self, bags: Sequence[DriveBag]) -> Drive:
        """Replay bags; raises GraphError if a node fails."""
        first = len(self._listener.statuses)
        for bag in bags:
            begin = len(self._listener.statuses)
            self._replay(bag.path)
            self._wait_for_last(bag, begin)
        return Drive(self._statuses(first), frozenset().union(*(bag.stamps for bag in bags)))

    def drive_while(self, bags: Sequence[DriveBag], act: Callable[[SwapClient], SwapResult]) -> "SwapDrive":
        """Replay bags; `act` begins with the first frame. They are replayed while it goes on, and once more when it has
        ended. Raises what `act` raises, TimeoutError where no frame comes."""
        with ThreadPoolExecutor(max_workers=1) as other:
            asked = other.submit(self._asked, act, len(self._listener.statuses))
            drives = [self.drive(bags)]
            while not asked.done():
                drives.append(self.drive(bags))
        return SwapDrive((*drives, self.drive(bags)), asked.result())

    def _asked(self, act: Callable[[SwapClient], SwapResult], before: int) -> SwapResult:
        """What `act` gives, once there are more statuses than `before`."""
        deadline_s = time.monotonic() + FIRST_FRAME_S
        while len(self._listener.statuses) == before:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"the detector answered no frame within {FIRST_FRAME_S:.0f} s; see its log")
            time.sleep(POLL_S)
        with SwapClient(DETECTOR, self._place.domain) as client:
            return act(client)

    def _statuses(self, first: int) -> tuple[FrameStatus, ...]:
        return tuple(status for _, status in self._listener.statuses[first:])

    def _wait_for_last(self, bag: DriveBag, first: int) -> None:
        """Until there is a status of each of the bag's frames, or LAST_FRAME_S are over."""
        deadline_s = time.monotonic() + LAST_FRAME_S
        while time.monotonic() < deadline_s:
            told = {to_nanoseconds(status.header.stamp) for status in self._statuses(first)}
            if bag.stamps <= told:
                break
            time.sleep(POLL_S)
        time.sleep(SETTLE_S)

    def _replay(self, bag: Path) -> None:
        topics = [f"/{name}/{kind}=2" for name in self._cameras for kind in ("image/compressed", "camera_info")]
        waits = (*topics, f"/{LIDAR}/points=2", "/tf=3", "/tf_static=3")  # all of detector, teacher and recorder
        options = ReplayOptions(bag=bag, rate=self._place.rate, wait_for_subscribers=waits)
        node = replay_node(options, GraphOptions(use_sim_time=True))
        with running(Graph((node,)), domain_id=self._place.domain, log_folder=self._place.logs) as processes:
            processes.wait(REPLAY_TIMEOUT_S)


@contextmanager
def running_robot(graph: Graph, cameras: Sequence[str], logs: Path, rate: float) -> Iterator[LearningRobot]:
    """Start the graph's nodes and listen to the detector; raises GraphError if one cannot be started."""
    with ExitStack() as cleanup:
        domain = cleanup.enter_context(held_domain())
        listener = GraphListener(domain)
        cleanup.callback(listener.close)
        cleanup.enter_context(running(graph, domain_id=domain, log_folder=logs))
        yield LearningRobot(cameras, listener, RobotPlace(domain, logs, rate))
