"""Text of figures and their intervals in the report's tables."""

from kd_bench.ledger.intervals import Estimate


def number_text(value: float, figure: str) -> str:
    """Shares, mAP, NDS and AP of a class times 100."""
    return f"{100 * value:.1f}" if _scale(figure) > 1 else f"{value:.2f}"


def mean_text(value: Estimate, figure: str) -> str:
    """The mean, with half the width of its interval if there are several seeds."""
    spread = "" if value.count == 1 else f" ± {number_text(value.half_width, figure)}"
    return number_text(value.mean, figure) + spread


def gain_text(value: Estimate, figure: str) -> str:
    """A difference with its sign, bold where the interval excludes 0."""
    digits = 1 if _scale(figure) > 1 else 2
    text = f"{_scale(figure) * value.mean:+.{digits}f}"
    if value.count > 1:
        text += f" ± {number_text(value.half_width, figure)}"
    return f"**{text}**" if value.clear else text


def _scale(figure: str) -> float:
    return 100.0 if figure in ("mAP", "NDS", "turned") or figure.startswith("AP ") else 1.0
