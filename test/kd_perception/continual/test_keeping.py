"""Which frames are kept: disputed, rare, not alike; the least useful leaves, and the budget holds."""

from dataclasses import replace

import numpy as np
import pytest
from support.kept_frames import T0, S, frame_messages, small_frame

from kd_perception.continual.keeping import RAREST, Candidate, ClassRarities, Decided, FrameKeeper, KeepingRules
from kd_perception.continual.recording import read_recording
from kd_perception.continual.recording_folder import RecordingFolder
from kd_perception.continual.verdicts import Dispute, DisputeKind, FrameVerdict
from kd_perception.geometry.transforms import make_transform

MB = 1 << 20
RULES = KeepingRules(least_importance=0.3, interval_s=2.0, place_m=2.0)
ALONG_X = np.array([1.0, 0.0, 0.0, 0.0])


def missed(kind: str = "car", doubt: float = 0.8, at: float = 10.0) -> Dispute:
    return Dispute(DisputeKind.MISSED, kind, np.array([at, 0.0, 1.0]), doubt, f"a {kind} is missed")


def candidate(second: float, *disputes: Dispute, x: float | None = None, size: int = 2000) -> Candidate:
    """A frame of that second, by default taken 10 m further each second; x: where the robot stands, in odom."""
    stamp_ns = T0 + round(second * S)
    classes = {dispute.class_name: 1 for dispute in disputes}
    pose = make_transform(ALONG_X, [10.0 * second if x is None else x, 0.0, 0.0])
    verdict = FrameVerdict(tuple(disputes), classes, len(disputes))
    return Candidate(stamp_ns, verdict, pose, lambda: frame_messages(stamp_ns, size))


def keeper(folder, budget=MB, **rules) -> FrameKeeper:
    return FrameKeeper(RecordingFolder(folder, budget), replace(RULES, **rules), class_count=10)


def decide(keeper: FrameKeeper, *candidates: Candidate) -> list[str]:
    return [keeper.offer(each).decided.name for each in candidates]


def test_a_disputed_frame_is_kept_with_the_reason(tmp_path):
    frames = keeper(tmp_path / "r")
    assert decide(frames, candidate(0), candidate(5, missed(doubt=0.1))) == ["AGREED", "AGREED"]
    decision = frames.offer(
        candidate(9, missed("bus", 0.9), missed("car", 0.3), missed("car", 0.2), missed("car", 0.1))
    )
    assert decision.decided is Decided.KEPT
    (kept,) = read_recording(tmp_path / "r").frames
    assert kept == decision.frame and kept.verdicts["missed"] == 4 and kept.classes == {"bus": 1, "car": 1}
    assert kept.why == "a bus is missed; a car is missed; a car is missed; and 1 more"
    assert kept.importance == pytest.approx(1.5) and kept.doubts == {"bus": 0.9, "car": pytest.approx(0.6)}


def test_a_recorder_may_keep_what_nobody_disputes(tmp_path):
    frames = keeper(tmp_path / "r", least_importance=0.0)
    decision = frames.offer(candidate(0))
    assert decision.decided is Decided.KEPT and (decision.frame.importance, decision.frame.rarity) == (0.0, 1.0)


def test_places_of_before_a_jump_of_odometry_are_not_those_of_now(tmp_path):
    frames = keeper(tmp_path / "r")
    assert decide(frames, candidate(0, missed(), x=0.0), candidate(10, missed(), x=0.0)) == ["KEPT", "ALIKE"]
    assert decide(frames, replace(candidate(20, missed(), x=0.0), odometry=1)) == ["KEPT"]


def test_near_duplicates_are_dropped_by_time_place_and_content(tmp_path):
    frames = keeper(tmp_path / "r")
    assert decide(
        frames,
        candidate(10, missed(), x=0.0),
        candidate(11, missed("bus"), x=50.0),  # too soon, whatever it shows
        candidate(20, missed(), x=0.5),  # the same car is still missed
        candidate(20, missed(at=10.5), missed("bus", at=20.0), x=0.5),  # half of it is known
        candidate(20, missed(at=20.0), x=0.5),  # another car
        candidate(30, missed(at=10.0), x=100.0),  # another place
        candidate(40, missed(at=10.0), missed("bus", at=20.0), missed("bus", at=30.0), x=0.0),  # most of it is new
    ) == ["KEPT", "SOON_AFTER", "ALIKE", "ALIKE", "KEPT", "KEPT", "KEPT"]


def test_without_odometry_frames_are_compared_as_if_standing_still(tmp_path):
    frames = keeper(tmp_path / "r")
    first, second, third = (
        Candidate(each.stamp_ns, each.verdict, None, each.messages)
        for each in (candidate(0, missed()), candidate(9, missed()), candidate(20, missed(at=20.0)))
    )
    assert decide(frames, first, second, third) == ["KEPT", "ALIKE", "KEPT"]


def test_messages_of_one_time_are_kept_once(tmp_path):
    """The clock went back: what would lie across a kept frame is dropped, so that the bag plays in order."""
    frames = keeper(tmp_path / "r", interval_s=0.0)
    again = candidate(0.0, missed("bus"))
    assert decide(frames, candidate(0.0, missed()), again) == ["KEPT", "SOON_AFTER"]


def test_the_least_useful_leave_and_classes_balance(tmp_path):
    """Room for ten frames: of many cars and few bicycles, the bicycles stay though they are disputed less."""
    frames, sizes = keeper(tmp_path / "r", budget=130_000), []
    for number in range(30):
        rare = number % 10 == 3
        dispute = missed("bicycle", 0.5) if rare else missed("car", 0.8 + number / 200)
        decision = frames.offer(candidate(3 * number, dispute))
        assert decision.decided in (Decided.KEPT, Decided.LESS_USEFUL)
        sizes.append(sum(path.stat().st_size for path in (tmp_path / "r").iterdir()))
    kept = read_recording(tmp_path / "r").frames
    assert max(sizes) <= 130_000 and 7 < len(kept) < 20
    assert sum("bicycle" in frame.classes for frame in kept) == 3
    cars = [frame.importance for frame in kept if "car" in frame.classes]
    assert cars and min(cars) > 0.85, "the cars disputed least have left"
    assert decide(frames, candidate(200, missed("car", 0.31))) == ["LESS_USEFUL"]
    assert decide(frames, candidate(300, missed("bus", 0.9), size=140_000)) == ["TOO_LARGE"]
    assert len(read_recording(tmp_path / "r").frames) == len(kept)


def test_a_smaller_budget_evicts_when_it_is_opened(tmp_path):
    folder = RecordingFolder(tmp_path / "r", MB)
    decide(FrameKeeper(folder, RULES, 10), *(candidate(3 * n, missed(doubt=0.4 + n / 10)) for n in range(5)))
    folder.close()
    smaller = RecordingFolder(tmp_path / "r", 40_000)
    FrameKeeper(smaller, RULES, 10)
    left = [frame.importance for frame in read_recording(tmp_path / "r").frames]
    assert 0 < len(left) < 5 and max(left) == pytest.approx(0.8) and smaller.overrun <= 0


def test_rarity_is_the_inverse_share():
    none = ClassRarities.among((), 10)
    assert none.usefulness({"car": 0.5}) == pytest.approx(0.5)
    frames = [replace(small_frame(0)[0], classes={"car": 30}), replace(small_frame(1)[0], classes={"bus": 8})]
    rarities = ClassRarities.among(frames, 2)
    assert rarities.known == {"car": pytest.approx(40 / 62), "bus": pytest.approx(40 / 18)}
    assert rarities.unseen == RAREST
