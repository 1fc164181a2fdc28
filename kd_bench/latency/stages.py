"""Stages of a network from its operators: sums, and what bounds them."""

from collections.abc import Sequence
from dataclasses import dataclass

from kd_bench.latency.limits import MachineLimits
from kd_bench.operators import Operator

HEADINGS = ("stage", "MMAC", "MB", "ms", "of time", "least ms", "of limit")
OPERATOR_HEADINGS = ("operator", "kind", "MMAC", "MB", "ms", "of limit")
LONGEST_NAME = 22  # a table fits 80 columns


@dataclass(frozen=True)
class StageSum:
    """A stage's operators together; least_ms: what the machine's limits allow."""

    name: str
    macs: float
    moved: float
    ms: float
    least_ms: float


def stage_sums(operators: Sequence[Operator], limits: MachineLimits) -> list[StageSum]:
    """By stage, in the order of the network, and the sum of all as `all`."""
    stages = list(dict.fromkeys(operator.stage for operator in operators))
    members = {stage: [operator for operator in operators if operator.stage == stage] for stage in stages}
    return [_sum(name, found, limits) for name, found in {**members, "all": list(operators)}.items()]


def share_of_limit(operators: Sequence[Operator], limits: MachineLimits) -> float:
    """Of the time that operators take, how much the limits explain: 1 is as fast as the machine can be."""
    total = _sum("", operators, limits)
    return total.least_ms / total.ms if total.ms else 0.0


def stage_rows(sums: Sequence[StageSum]) -> list[tuple[str, ...]]:
    """Text as HEADINGS names it."""
    whole = sums[-1].ms
    return [
        (
            entry.name, f"{entry.macs / 1e6:.0f}", f"{entry.moved / 1e6:.1f}", f"{entry.ms:.2f}",
            f"{entry.ms / whole:.0%}", f"{entry.least_ms:.2f}", f"{entry.least_ms / entry.ms:.0%}",
        )
        for entry in sums
    ]  # fmt: skip


def slowest_rows(operators: Sequence[Operator], limits: MachineLimits, count: int) -> list[tuple[str, ...]]:
    """The operators that lose most against the limits, most first; text as OPERATOR_HEADINGS names it."""

    def lost(operator: Operator) -> float:
        return operator.ms - limits.least_ms(operator.precision, operator.macs, operator.moved)

    rows = []
    for operator in sorted(operators, key=lost, reverse=True)[:count]:
        share = share_of_limit([operator], limits)
        name = operator.name.strip("/").removesuffix("/WithoutBiases")
        name = name if len(name) <= LONGEST_NAME else f"...{name[3 - LONGEST_NAME :]}"
        kind = f"{operator.kind[:16]}{' int8' if operator.precision == 'int8' else ''}"
        macs, moved = f"{operator.macs / 1e6:.0f}", f"{operator.moved / 1e6:.1f}"
        rows.append((name, kind, macs, moved, f"{operator.ms:.2f}", f"{share:.0%}"))
    return rows


def _sum(name: str, operators: Sequence[Operator], limits: MachineLimits) -> StageSum:
    least = sum(limits.least_ms(entry.precision, entry.macs, entry.moved) for entry in operators)
    macs, moved = (sum(getattr(entry, field) for entry in operators) for field in ("macs", "moved"))
    return StageSum(name, macs, moved, sum(entry.ms for entry in operators), least)
