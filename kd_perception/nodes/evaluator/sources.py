"""Who sends what the evaluator takes: results of two detectors on one topic are those of neither. ROS-free."""

from dataclasses import dataclass, field


@dataclass
class _Topic:
    newest: bytes | None = None  # the publisher of the newest message
    replaced: set[bytes] = field(default_factory=set)  # publishers that another one had followed
    by_stamp: dict[int, bytes] = field(default_factory=dict)  # the first publisher for each frame


class Sources:
    """Notices that several publishers send on a topic at a time; one that was restarted is a new one, after the old."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self.problem = ""  # stays, once several have sent

    def came(self, topic: str, publisher: bytes, stamp_ns: int) -> None:
        """Take a message's publisher (its global id) and the stamp of its frame."""
        seen = self._topics.setdefault(topic, _Topic())
        if publisher != seen.newest and seen.newest is not None:
            seen.replaced.add(seen.newest)
        seen.newest = publisher
        if publisher in seen.replaced or seen.by_stamp.setdefault(stamp_ns, publisher) != publisher:
            self.problem = (
                f"several publishers send on {topic}, so their results are mixed; end all but one, configure the "
                "evaluator again and replay"
            )
