"""What became of a frame, as kd_msgs/FrameStatus numbers it."""

from kd_msgs.msg import FrameStatus
from kd_perception.runtime.frame import Outcome

BLIND = 3  # FrameStatus.BLIND, as a number: messages that were built before it was added lack the name

NUMBERS = {
    Outcome.ANSWERED: FrameStatus.ANSWERED,
    Outcome.DROPPED: FrameStatus.DROPPED,
    Outcome.REJECTED: FrameStatus.REJECTED,
    Outcome.BLIND: BLIND,
}
