"""kd_training: what makes the model the robot runs (data, models, distillation, export).

It imports kd_perception, never the reverse.
"""
