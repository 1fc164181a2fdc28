"""How long a run is, and which share of it a process has."""

from typing import NamedTuple


class RunPlan(NamedTuple):
    """`steps` of the optimiser, each of `micro_batches` batches in every one of `processes` processes, of which this is
    `rank`."""

    steps: int
    micro_batches: int = 1
    rank: int = 0
    processes: int = 1

    def positions(self, index: int, batch: int) -> range:
        """Positions, counted over the samples of all processes, of this process's micro-batch `index` of the run."""
        first = (index * self.processes + self.rank) * batch
        return range(first, first + batch)
