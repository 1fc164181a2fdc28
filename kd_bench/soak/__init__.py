"""`kd bench soak`: the node graph under load for minutes: answered frames, latency, memory."""
