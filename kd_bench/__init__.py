"""kd_bench: the demo and the measurements. It imports all other packages; none of them imports it."""
