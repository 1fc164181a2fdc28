"""What a bench wants to see, and whether its ledger shows it: reached, not reached, or open."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """A wish, the figures that answer it, and whether they fulfil it; None: runs are missing."""

    wish: str
    figures: str = ""
    reached: bool | None = None

    @property
    def verdict(self) -> str:
        """In words."""
        return "open" if self.reached is None else ("reached" if self.reached else "NOT reached")


GATE_HEADINGS = ("wanted", "measured", "verdict")


def gate_rows(gates: Sequence[Aim]) -> list[tuple[str, str, str]]:
    """Lines of the table, as GATE_HEADINGS names them."""
    return [(gate.wish, gate.figures or "-", gate.verdict) for gate in gates]
