"""The last seconds of messages: bounded in time and bytes, found by stamp."""

from kd_perception.bags.frame_file import RecordedMessage
from kd_perception.continual.held_messages import SLOWEST, HeldMessages

S = 1_000_000_000


def message(topic: str = "/a", size: int = 10, number: int = 0) -> RecordedMessage:
    return RecordedMessage(topic, "std_msgs/msg/Header", bytes([number] * size), number * S)


def stamps(held: HeldMessages, topic: str = "/a") -> list[int]:
    return [entry.stamp_ns // S for entry in held.between(topic, 0, 1000 * S)]


def test_messages_leave_after_their_time_and_are_found_by_stamp():
    held = HeldMessages(history_s=3.0, most_bytes=1000)
    for second in range(10, 20):
        assert held.add(second * S, message(number=second))
    assert stamps(held) == [16, 17, 18, 19] and held.newest_ns("/a") == 19 * S
    assert held.nearest("/a", 17 * S + 40, 100).message.cdr[0] == 17
    assert held.nearest("/a", 17 * S + 101, 100) is None and held.nearest("/b", 17 * S, 100) is None
    assert held.last_before("/a", 18 * S - 1).stamp_ns == 17 * S
    assert held.last_before("/a", S).stamp_ns == 16 * S, "the oldest, where all are later"
    assert held.last_before("/b", S) is None and held.newest_ns("/b") is None


def test_messages_that_are_all_stamped_alike_leave_by_when_they_came():
    held = HeldMessages(history_s=3.0, most_bytes=1000)
    assert all(held.add(0, message(number=second)) for second in range(10, 100))
    assert [entry.message.cdr[0] for entry in held.between("/a", 0, 0)] == list(range(99 - SLOWEST * 3, 100))


def test_of_too_many_bytes_the_oldest_leave_but_the_last_of_a_topic_stays():
    held = HeldMessages(history_s=100.0, most_bytes=35)
    assert all(held.add(second * S, message("/once" if second == 1 else "/a")) for second in (1, 2, 3))
    assert not held.add(4 * S, message())
    assert stamps(held) == [3, 4] and stamps(held, "/once") == [1]
    assert not held.add(5 * S, message(size=100)) and stamps(held) == [5], "a single one may be larger"
    assert stamps(held, "/once") == [1]


def test_a_time_that_has_ended_is_forgotten():
    held = HeldMessages(history_s=2.0, most_bytes=1000)
    for second in (20, 21, 20.5, 3):  # a little late is only late
        held.add(int(second * S), message())
        seen = stamps(held)
    assert seen == [3]
    held.clear()
    assert stamps(held) == []
