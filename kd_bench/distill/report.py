"""`distill.md`: the ledger as tables and plots; published figures stand at its end, apart from ours."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from kd_bench.distill.arms import BASELINE, CONVERGENCE, GRID, MAIN, SUITES, Arm, Suite, label_of
from kd_bench.distill.blending_report import blending_parts
from kd_bench.distill.cells import gain_text, mean_text, number_text
from kd_bench.distill.comparison import FIGURES, TRAINED_GAIN, Comparison, comparisons
from kd_bench.distill.convergence_report import convergence_table
from kd_bench.distill.distillbev_paper import published_tables
from kd_bench.distill.ledger import Record
from kd_bench.distill.plots import draw_curves, draw_gains
from kd_bench.distill.splits import LEAST_BOXES, REPORTED, TUNED
from kd_bench.distill.suite_runs import CONTINUED, START, TEACHER_SUITE, Settings
from kd_bench.tables import markdown_table
from kd_perception.atomic import write_text
from kd_perception.errors import DataError
from kd_perception.geometry.classes import CLASSES

UNITS = {"mAP": "", "NDS": "", "mATE": " m", "mAOE": " rad", "mAVE": " m/s"}
METHOD = """Every arm of a student has the same start, data, steps, batches and seed, with a teacher or without. The
image half of the start (backbone, neck, depth) is trained, from `models/STUDENT_demo.safetensors`, and its backbone is
frozen. The BEV half (encoder, head, memory) is re-initialised from the seed; in sections titled *continued* it is that
student's as well. Differences are paired: seed by seed, arm minus `none`. After ± stands half the 95 % interval of
their mean (Student's t; none with one seed). **Bold**: the interval excludes 0. mAP and NDS are times 100; lower mATE,
mAOE and mAVE are better. Weights are searched on the split `tune`, figures are of the split `val`; the scenes of all
splits differ."""


def write_distill_report(records: Sequence[Record], path: Path) -> list[Path]:
    """Write the report and its plots next to it; returns the files. Raises DataError for an empty ledger."""
    if not records:
        raise DataError("the ledger holds no runs yet; run kd bench distill first")
    found = comparisons(records)
    body = [f"# Distillation\n\n{METHOD}", _facts(records), _teachers(records)]
    files = []
    for suite in SUITES:
        parts = []
        for compared in found:
            labels = [arm.label for arm in suite.arms if arm.label in compared.labels]
            if not _is_begun(suite, compared, labels):
                continue
            picture = path.with_name(f"{path.stem}_{suite.name}_{compared.student}_{compared.protocol[:6]}.png")
            parts.append(_section(suite, compared, labels, records, picture))
            files.append(picture)
        if parts:
            body.append("\n\n".join([f"## {suite.title}", *parts]))
        else:
            body.append(f"## {suite.title}\n\nNo run yet: `kd bench distill --suite {suite.name}`.")
    body.append(published_tables())
    write_text(path, "\n\n".join(part for part in body if part).strip() + "\n")
    return [path, *files]


def _is_begun(suite: Suite, compared: Comparison, labels: list[str]) -> bool:
    """Whether a suite has runs that the main one does not share."""
    if suite == CONVERGENCE:
        return bool(compared.curves(BASELINE))
    shared = {BASELINE} if suite == MAIN else {arm.label for arm in MAIN.arms}
    return not set(labels) <= shared


def _section(suite: Suite, compared: Comparison, labels: list[str], records: Sequence[Record], picture: Path) -> str:
    """One student in one suite."""
    start = _start(records, compared)
    title = f"### {compared.student}, {compared.steps} steps of {compared.batch} samples"
    parts = [title + (f", {CONTINUED}" if compared.continued else ""), _trained(compared)]
    parts.append(_arms_table(compared, labels, start))
    if suite == CONVERGENCE:
        first = start.mAP if start is not None and compared.continued else 0.0
        draw_curves({label: compared.curves(label) for label in labels}, first, picture)
        parts.append(convergence_table(compared, labels, first))
    else:
        gains = {label: compared.gain(label, "mAP") for label in labels if label != BASELINE}
        draw_gains({label: gain for label, gain in gains.items() if gain is not None}, picture)
    parts.append(f"![{suite.title}: {compared.student}]({picture.name})")
    parts.append(_tuned(suite, compared))
    if GRID in suite.arms:
        parts += blending_parts(compared)
    parts += [_by_class(compared, labels), _missing(suite, compared)]
    return "\n\n".join(part for part in parts if part)


def _arms_table(compared: Comparison, labels: list[str], start: Record | None) -> str:
    rows = []
    if start is not None:
        name = "*start, before these steps*" if compared.continued else "*the student that gave the image half*"
        rows.append((name, "", *(number_text(getattr(start, name), name) for name in FIGURES)))
    for label in labels:
        cells = []
        for name in FIGURES:
            gain = None if label == BASELINE else compared.gain(label, name)
            cells.append(mean_text(compared.mean(label, name), name) if gain is None else gain_text(gain, name))
        rows.append((label, str(compared.mean(label, "mAP").count), *cells))
    names = [f"{name}{UNITS[name]}" for name in FIGURES]
    return markdown_table(("arm", "seeds", *names), rows)


def _trained(compared: Comparison) -> str:
    gain = compared.last_third_gain()
    if gain is None:
        return (
            "It is not known whether the baseline is trained to the end: its score at two thirds (seed 0) is missing."
        )
    verdict = "counts as trained" if gain < TRAINED_GAIN else "is NOT trained to the end"
    return (
        f"The baseline {verdict}: its last third brought {100 * gain:+.2f} mAP (seed 0; less than "
        f"{100 * TRAINED_GAIN:g} counts)."
    )


def _tuned(suite: Suite, compared: Comparison) -> str:
    """The scores that arms are chosen by: never those of the reported split."""
    labels = [point.label for arm in suite.arms for point in ([arm] if isinstance(arm, Arm) else arm.points)]
    rows = [
        (label_of(record.arm, record.teacher), f"{100 * record.mAP:.1f}", f"{100 * record.NDS:.1f}",
         f"{record.seconds:.0f}")
        for record in compared.tuning(labels)
    ]  # fmt: skip
    if not rows:
        return ""
    title = f"Scores to choose by, on the split `{TUNED}` with a seed of its own:"
    return f"{title}\n\n" + markdown_table(("arm", "mAP", "NDS", "seconds"), rows)


def _by_class(compared: Comparison, labels: list[str]) -> str:
    rows = []
    for name in CLASSES:
        figure = f"AP {name}"
        gains = [compared.gain(label, figure) for label in labels if label != BASELINE]
        base = mean_text(compared.mean(BASELINE, figure), "mAP") if BASELINE in labels else ""
        rows.append((name, base, *("" if gain is None else gain_text(gain, "mAP") for gain in gains)))
    others = [label for label in labels if label != BASELINE]
    return "AP by class:\n\n" + markdown_table(("class", BASELINE, *others), rows)


def _missing(suite: Suite, compared: Comparison) -> str:
    wanted = Settings().seeds
    counts = {arm.label: len(compared.by_seed(arm.label, "mAP")) for arm in suite.arms}
    lacking = [f"{label} {count} of {wanted}" for label, count in counts.items() if count < wanted]
    return f"Missing from the suite (seeds there): {', '.join(lacking)}." if lacking else ""


def _facts(records: Sequence[Record]) -> str:
    """The origin of the runs, and whether the reported split is large enough."""
    truths = next((record.truths for record in records if record.split == REPORTED), {})
    few = [name for name, count in truths.items() if count < LEAST_BOXES]
    boxes = ", ".join(f"{name} {count}" for name, count in truths.items())
    commands = sorted({_without_paths(record.command) for record in records})
    lines = [
        f"- runs: {len({record.key.rsplit('-', 1)[0] for record in records})}, "
        f"{sum(record.seconds for record in records if record.finished) / 3600:.1f} hours of training",
        f"- boxes in `{REPORTED}` that the metric counts: {boxes}"
        + (f"; FEWER than {LEAST_BOXES}: {', '.join(few)}" if few else ""),
        f"- devices: {'; '.join(sorted({record.device for record in records}))}",
        f"- commits: {', '.join(sorted({record.commit for record in records}))}",
        "- commands:",
    ]
    return "\n".join([*lines, *(f"  - `{command}`" for command in commands)])


def _teachers(records: Sequence[Record]) -> str:
    rows = [
        (record.teacher, *(number_text(getattr(record, name), name) for name in FIGURES), str(record.steps))
        for record in records
        if record.suite == TEACHER_SUITE
    ]
    return "## Teachers\n\n" + markdown_table(("teacher", *FIGURES, "steps"), rows) if rows else ""


def _start(records: Sequence[Record], compared: Comparison) -> Record | None:
    """The score of the weights that the student's arms start from."""
    found = [record for record in records if record.arm == START and record.split == REPORTED]
    found = [record for record in found if record.start == compared.records[0].start]
    return found[-1] if found else None


def _without_paths(command: str) -> str:
    """A command without this machine's paths: absolute ones keep their last part."""
    words = shlex.split(command)
    return shlex.join(
        f"{head}={Path(tail).name}" if tail.startswith("/") else (Path(word).name if word.startswith("/") else word)
        for word in words
        for head, _, tail in [word.partition("=")]
    )
