"""Benchmarks of the robot side; `kd bench` also lists those that training adds."""
