"""What models take and return: inputs, outputs, point clouds; and the processes that share a run."""
