"""The nuScenes metric as plain fields of a ledger's line."""

import math

from kd_perception.evaluation.metric import Metrics

DECIMALS = 5
ERRORS = {
    "mATE": "translation", "mASE": "scale", "mAOE": "orientation", "mAVE": "velocity", "mAAE": "attribute",
}  # fmt: skip


def accuracy(metrics: Metrics) -> dict[str, float | None | dict[str, float] | dict[str, int]]:
    """mAP, NDS and errors over classes; headings taken apart, AP and counted boxes (truths) by class."""
    headings = {name: entry.headings for name, entry in metrics.classes.items() if not math.isnan(entry.headings.axis)}
    return {
        "mAP": round(metrics.mean_ap, DECIMALS),
        "NDS": round(metrics.nds, DECIMALS),
        **{name: round(getattr(metrics.errors, error), DECIMALS) for name, error in ERRORS.items()},
        "axis": _known(metrics.headings.axis),
        "turned": _known(metrics.headings.turned),
        "axes": {name: _known(entry.axis) for name, entry in headings.items()},
        "turns": {name: _known(entry.turned) for name, entry in headings.items()},
        "AP": {name: round(entry.ap, DECIMALS) for name, entry in metrics.classes.items()},
        "truths": {name: entry.ground_truths for name, entry in metrics.classes.items()},
    }


def _known(value: float) -> float | None:
    """Rounded; None for NaN, which JSON has no word for."""
    return None if math.isnan(value) else round(value, DECIMALS)
