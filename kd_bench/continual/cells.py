"""Text of figures in the report's tables: shares in percent, mAP times 100; after ± half the 95 % interval."""

from math import isfinite

from kd_bench.ledger.intervals import Estimate


def percent_text(value: Estimate | None) -> str:
    """A share in percent."""
    return "" if value is None else f"{points_text(value)} %"


def points_text(value: Estimate | None, *, signed: bool = False) -> str:
    """A figure times 100, with half the width of its interval if there are several seeds."""
    if value is None:
        return ""
    text = f"{100 * value.mean:{'+' if signed else ''}.1f}"
    return f"{text} ± {100 * value.half_width:.1f}" if isfinite(value.half_width) else text


def minutes_text(value: Estimate | None) -> str:
    """Seconds as minutes."""
    return "" if value is None else f"{value.mean / 60:.0f}"
