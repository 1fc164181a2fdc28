"""What the project wants of distillation, and whether the ledger shows it: reached, not reached, or open."""

import math
from collections.abc import Callable, Iterable, Sequence

from kd_bench.distill.arms import BEST, CEILING, CHOSEN, LABELS, MAIN, SINGLE
from kd_bench.distill.common_arms import NONE_TENTH
from kd_bench.distill.comparison import TRAINED_GAIN, Comparison, comparisons, last_third_gain
from kd_bench.distill.convergence import convergence_aim
from kd_bench.distill.gap import scale_aims
from kd_bench.distill.ledger import Record
from kd_bench.distill.suite import Suite
from kd_bench.distill.terms_suite import FEATURES, TERMS
from kd_bench.distill.tuning import tuning_aims
from kd_bench.ledger.cells import gain_text
from kd_bench.ledger.gates import GATE_HEADINGS, Aim, gate_rows
from kd_bench.ledger.intervals import Estimate, seeds_text
from kd_bench.tables import markdown_table

LEAST_GAIN, LEAST_LABEL_GAIN, LEAST_SHARE, LEAST_ROOM = 0.02, 0.05, 0.8, 0.08


def gates_table(records: Sequence[Record]) -> str:
    """All of them as Markdown."""
    wanted = [*gates(records), convergence_aim(records), *tuning_aims(records), *scale_aims(records)]
    return markdown_table(GATE_HEADINGS, gate_rows(wanted))


def gates(records: Sequence[Record]) -> list[Aim]:
    """Those of the teacher's lessons; what the triple loss and blending claim stands apart."""
    return [_trained(records), _room(records), _converged(records), *_few_labels(records), _features(records)]


def _trained(records: Sequence[Record]) -> Aim:
    wish = f"the baseline's last third of steps brings less than {100 * TRAINED_GAIN:g} mAP"
    gain = last_third_gain(records)
    if gain is None:
        return Aim(wish)
    return Aim(wish, f"{100 * gain:+.2f}, against a schedule two thirds as long (seed 0)", gain < TRAINED_GAIN)


def _room(records: Sequence[Record]) -> Aim:
    wish = f"all labels are worth at least {100 * LEAST_ROOM:g} mAP more than a tenth of them"
    gain = _first(LABELS, records, lambda entry: entry.gain(CEILING, "mAP", NONE_TENTH.name))
    return Aim(wish) if gain is None else Aim(wish, _text(gain), gain.mean >= LEAST_ROOM)


def _converged(records: Sequence[Record]) -> Aim:
    """The student that gained more for sure decides."""
    wish = f"{BEST.name}: the whole interval of one student's gain above {100 * LEAST_GAIN:+g} mAP"
    gains = {
        suite.student: gain
        for suite in (MAIN, SINGLE)
        if (gain := _first(suite, records, lambda entry: entry.gain(BEST.name, "mAP"))) is not None
    }
    lows = [gain.low for gain in gains.values() if gain.count > 1]
    figures = ", ".join(f"{student} {_text(gain)}" for student, gain in gains.items())
    return Aim(wish, figures, max(lows) > LEAST_GAIN if lows else None)


def _few_labels(records: Sequence[Record]) -> Iterable[Aim]:
    """The best of the taught arms decides."""
    best, gain = _best(LABELS, [arm.name for arm in LABELS.arms if arm.teacher], records)
    wish = f"with a tenth of the labels a teacher brings at least {100 * LEAST_LABEL_GAIN:+g} mAP"
    yield Aim(wish) if gain is None else Aim(wish, f"{best} {_text(gain)}", gain.mean >= LEAST_LABEL_GAIN)
    wish = f"that is at least {100 * LEAST_SHARE:.0f} % of the mAP with all labels"
    share = _first(LABELS, records, lambda entry: entry.share_of_ceiling(best))
    if share is None:
        yield Aim(wish)
        return
    spread = f" ± {100 * share.half_width:.0f}" if math.isfinite(share.half_width) else ""
    yield Aim(wish, f"{best} {100 * share.mean:.0f}{spread} % ({seeds_text(share.count)})", share.mean >= LEAST_SHARE)


def _features(records: Sequence[Record]) -> Aim:
    """In the main suite where it reports them, else on the tuning split; open while the interval includes 0."""
    wish = "features or label features above the answers alone"
    best, gain = CHOSEN, _first(MAIN, records, lambda entry: entry.gain(CHOSEN, "mAP", TERMS.baseline))
    if CHOSEN not in FEATURES or gain is None:
        best, gain = _best(TERMS, FEATURES, records)
    if gain is None:
        return Aim(wish)
    return Aim(wish, f"{best} {_text(gain)}", gain.mean > 0 if gain.clear or gain.mean <= 0 else None)


def _best(suite: Suite, names: Iterable[str], records: Sequence[Record]) -> tuple[str, Estimate | None]:
    """The arm that gained most over the suite's baseline, and what it gained; without any run none."""
    gains = {name: _first(suite, records, lambda entry, name=name: entry.gain(name, "mAP")) for name in names}
    known = {name: gain for name, gain in gains.items() if gain is not None}
    return max(known.items(), key=lambda item: item[1].mean, default=("", None))


def _first(suite: Suite, records: Sequence[Record], figure: Callable[[Comparison], Estimate | None]) -> Estimate | None:
    """A figure of the suite's largest comparison that has it."""
    return next((found for entry in comparisons(suite, records) if (found := figure(entry)) is not None), None)


def _text(gain: Estimate) -> str:
    return f"{gain_text(gain, 'mAP')} ({seeds_text(gain.count)})"
