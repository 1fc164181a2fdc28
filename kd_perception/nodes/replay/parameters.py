"""Parameters of the replay node."""

from dataclasses import dataclass

from kd_perception.nodes.common.parameters import parameter


@dataclass(frozen=True)
class ReplayParameters:
    """Parameters of the replay node; read on configure."""

    bag: str = parameter("", "rosbag2 folder, or a single .mcap or .db3 file")
    rate: float = parameter(1.0, "speed of real-time replay; lockstep ignores it", 0.001, 1000.0)
    loop: bool = parameter(False, "start again at the end, until interrupted")
    loop_gap_s: float = parameter(0.1, "pause before the next beginning, s of bag time", 0.0, 60.0)
    lockstep: bool = parameter(False, "after every Sample wait for the FrameStatus with its stamp")
    detector: str = parameter("/bev_student", "the node whose answers lockstep waits for")
    answer_timeout_s: float = parameter(60.0, "longest wait for a FrameStatus, s", 0.1, 3600.0)
    clock_rate_hz: float = parameter(100.0, "how often /clock is published, per second of bag time", 1.0, 10000.0)
    wait_for_subscribers: tuple[str, ...] = parameter((), "entries topic=count: replay starts when so many listen")
    subscriber_timeout_s: float = parameter(30.0, "longest wait for subscribers, s", 0.0, 600.0)
    finished_service: str = parameter("", "a std_srvs/Trigger service to call at the end, e.g. the evaluator's")
    finished_timeout_s: float = parameter(600.0, "longest wait for that service, s", 0.1, 7200.0)
