"""What became of a frame, as kd_msgs/FrameStatus numbers it."""

from kd_msgs.msg import FrameStatus
from kd_perception.runtime.frame import Outcome

NUMBERS = {outcome: getattr(FrameStatus, outcome.name) for outcome in Outcome}
