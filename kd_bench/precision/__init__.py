"""A student's precisions next to each other: accuracy against FP32 with its gate, and speed in one run."""
