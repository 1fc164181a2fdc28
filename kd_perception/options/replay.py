"""Options of the node `replay`, which plays a bag."""

from dataclasses import dataclass
from pathlib import Path

from kd_perception.options.option import option


@dataclass(frozen=True)
class ReplayOptions:
    """Parameters of the replay node; it reads them on configure."""

    bag: Path | None = option("Folder of a rosbag2, or a single .mcap or .db3 file.", default=None, required=True)
    rate: float = option(
        "Speed of playing in real time, as a multiple; lockstep ignores it.", default=1.0, limits=(0.001, 1000.0)
    )
    loop: bool = option("Start again at the end, until interrupted.", default=False)
    loop_gap_s: float = option(
        "Pause between the end and the next beginning, in s of bag time.", default=0.1, limits=(0.0, 60.0)
    )
    lockstep: bool = option(
        "After every Sample wait for the FrameStatus with its stamp; otherwise play in real time.", default=False
    )
    detector: str = option("Name of the node whose FrameStatus lockstep waits for.", default="bev_student")
    answer_timeout_s: float = option("Longest wait for a FrameStatus, in s.", default=120.0, limits=(0.1, 3600.0))
    clock_rate_hz: float = option(
        "How often /clock is published, per second of bag time.", default=100.0, limits=(1.0, 10000.0)
    )
    wait_for_subscribers: tuple[str, ...] = option(
        "Entries topic=count: playing starts when so many subscribe, e.g. CAM_FRONT/image/compressed=1.",
        default=(),
        argument="wait_for",
    )
    subscriber_timeout_s: float = option(
        "Longest wait for subscribers and for the detector, in s.", default=60.0, limits=(0.0, 600.0)
    )
    finished_service: str = option("Service (std_srvs/Trigger) to call at the end; by default none.", default="")
    finished_timeout_s: float = option(
        "Longest wait for that service, in s; the metric over a large data set takes minutes.",
        default=1800.0,
        limits=(0.1, 7200.0),
    )
