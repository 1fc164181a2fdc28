"""kd_perception: multi-camera bird's-eye-view 3D detection on a robot (ROS 2 nodes, engines, bags, evaluation).

The contract shared with training (boxes, grid, rig, image preprocessing, view tables, decoding, student file) lives
here once, as plain NumPy modules. This package never imports kd_training and imports no training framework.
"""

__version__ = "0.1.0"
