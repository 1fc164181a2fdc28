"""The detector on live cameras: ros2 launch kd_perception bev_student.launch.py model:=student.onnx"""

from kd_perception.bringup.graph import BEV_STUDENT_ARGUMENTS, bev_student_graph
from kd_perception.bringup.ros_launch import describe
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch runs."""
    return describe(bev_student_graph, BEV_STUDENT_ARGUMENTS)
