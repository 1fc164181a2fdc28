"""`distillation.md`: the ledger as tables and plots; published figures stand at its end, apart from ours."""

from collections.abc import Sequence
from pathlib import Path

from kd_bench.distill.arms import BEST, CHOSEN, LABELS, MAIN, PUBLISHED, SINGLE, SUITES
from kd_bench.distill.blending_suite import BLENDING
from kd_bench.distill.comparison import Comparison, comparisons, teachers
from kd_bench.distill.distillbev_paper import published_table
from kd_bench.distill.gap import gap_table
from kd_bench.distill.gates import gates_table
from kd_bench.distill.ledger import FIGURES, Record
from kd_bench.distill.plots import draw_gains
from kd_bench.distill.run import TEACHER
from kd_bench.distill.scale_arms import SCALE
from kd_bench.distill.splits import LEAST_BOXES, REPORTED
from kd_bench.distill.suite import Suite
from kd_bench.distill.terms_suite import TERMS
from kd_bench.distill.tuning import tuning_table
from kd_bench.ledger.cells import gain_text, mean_text, number_text
from kd_bench.ledger.commands import without_paths
from kd_bench.tables import markdown_table
from kd_perception.atomic import write_text
from kd_perception.errors import DataError
from kd_perception.geometry.classes import CLASSES

METHOD = f"""Every arm of a suite has the same start, data, steps, batches and seeds, with a teacher or without. The
start is an image half (backbone, neck, depth) that LiDAR depth alone has taught, from
`config/training/depth_pretrain_demo.yaml`: it has seen no label. In `published` it is ImageNet's backbone, and LiDAR
depth supervises neither arm. Everything else starts from the seed. Which terms the teacher's lessons have was
fixed on the split `tune`, with seeds of its own (suite `terms`; the choice is `{CHOSEN}`). All other figures are of the
split `val`; the scenes of all splits differ.

Differences are paired: seed by seed, arm minus baseline. After ± stands half the 95 % interval of their mean (Student's
t; none with one seed). **Bold**: the interval excludes 0. mAP and NDS are times 100; lower errors are better. Whether
the baseline is trained to the end is told by a second one whose whole schedule, down to a learning rate of 0, is two
thirds as long: a score in the middle of a schedule would not tell, since the falling rate always gains."""
SUMMARY = ((MAIN, BEST.name), (PUBLISHED, BEST.name), (SINGLE, BEST.name), (LABELS, ""))  # "": all taught arms


def write_distill_report(records: Sequence[Record], path: Path) -> list[Path]:
    """Write the report and its plots next to it; returns the files. Raises DataError for an empty ledger."""
    if not records:
        raise DataError("the ledger holds no runs yet; run kd bench distill first")
    body = [f"# Distillation\n\n{METHOD}", _facts(records)]
    body += [f"## In short\n\n{_summary(records)}", f"## What was wanted\n\n{gates_table(records)}", _teachers(records)]
    files = []
    for suite in SUITES:
        parts = [f"## {suite.title}: `{suite.name}`"]
        for number, compared in enumerate(comparisons(suite, records)):
            picture = path.with_name(f"{path.stem}_{_file_part(suite)}{number or ''}.png")
            parts.append(_section(compared, picture))
            files.append(picture)
        body.append("\n\n".join(parts if len(parts) > 1 else [*parts, "No run yet."]))
    body.append(published_table())
    write_text(path, "\n\n".join(part for part in body if part).strip() + "\n")
    return [path, *files]


def _summary(records: Sequence[Record]) -> str:
    """One row for each question: baseline, with a teacher, and the paired difference."""
    rows = []
    for suite, only in SUMMARY:
        for compared in comparisons(suite, records)[:1]:
            for arm in suite.arms:
                if arm.teacher and arm.name in compared.labels and arm.name == (only or arm.name):
                    rows.append((f"{suite.title}, {suite.student}", arm.name, *_summary_cells(compared, arm.name)))
    names = ("question", "arm", "seeds", "mAP, baseline", "mAP", "gain in mAP", "gain in NDS")
    return markdown_table(names, rows) if rows else "No pair yet."


def _summary_cells(compared: Comparison, label: str) -> tuple[str, ...]:
    gains = [compared.gain(label, figure) for figure in ("mAP", "NDS")]
    means = [compared.mean(name, "mAP") for name in (compared.suite.baseline, label)]
    return (
        str(gains[0].count if gains[0] else 0),
        *("" if mean is None else mean_text(mean, "mAP") for mean in means),
        *("" if gain is None else gain_text(gain, "mAP") for gain in gains),
    )


def _section(compared: Comparison, picture: Path) -> str:
    """One comparison of a suite."""
    suite = compared.suite
    gains = {label: compared.gain(label, "mAP") for label in compared.labels if label != suite.baseline}
    draw_gains({label: gain for label, gain in gains.items() if gain is not None}, picture)
    parts = [
        f"### {suite.student}, {compared.steps} steps of {compared.batch} samples, split `{suite.split}`",
        _arms_table(compared),
        f"![{suite.title}]({picture.name})",
        _by_class(compared),
        _missing(compared),
    ]
    if suite == TERMS:
        parts.insert(2, _choice(compared))
    if suite == BLENDING:
        parts.insert(2, tuning_table(compared))
    if suite == SCALE:
        parts.insert(2, gap_table(compared))
    return "\n\n".join(part for part in parts if part)


def _file_part(suite: Suite) -> str:
    """What tells a suite's plot from the others': its student as well where students share a name."""
    shared = sum(other.name == suite.name for other in SUITES) > 1
    return f"{suite.name}_{suite.student}" if shared else suite.name


def _arms_table(compared: Comparison) -> str:
    figures = [figure for figure in FIGURES if any(compared.by_seed(label, figure) for label in compared.labels)]
    rows = []
    for label in compared.labels:
        cells = [_cell(compared, label, figure) for figure in figures]
        rows.append((label, str(len(compared.by_seed(label, "mAP"))), *cells))
    names = [f"{figure} {unit}".strip() for figure, unit in FIGURES.items() if figure in figures]
    return markdown_table(("arm", "seeds", *names), rows)


def _cell(compared: Comparison, label: str, figure: str) -> str:
    """The baseline's mean, and every other arm's difference to it, or its own mean where no seed has both."""
    gain = None if label == compared.suite.baseline else compared.gain(label, figure)
    if gain is not None:
        return gain_text(gain, figure)
    mean = compared.mean(label, figure)
    return "" if mean is None else mean_text(mean, figure)


def _choice(compared: Comparison) -> str:
    """Whether the other suites report what this one found best."""
    gains = {label: gain.mean for label in compared.labels if (gain := compared.gain(label, "mAP")) is not None}
    best = max(gains, key=lambda label: gains[label], default=CHOSEN)
    if best == CHOSEN:
        return f"The best here is `{best}`, which the other suites report."
    return f"The best here is `{best}`; the other suites report `{CHOSEN}`."


def _by_class(compared: Comparison) -> str:
    base = compared.suite.baseline
    labels = [label for label in compared.labels if label != base]
    rows = [(name, *(_cell(compared, label, f"AP {name}") for label in (base, *labels))) for name in CLASSES]
    return "AP by class:\n\n" + markdown_table(("class", base, *labels), rows)


def _missing(compared: Comparison) -> str:
    counts = [(arm, len(compared.by_seed(arm.name, "mAP"))) for arm in compared.suite.arms]
    lacking = [f"{arm.name} {count} of {arm.seeds}" for arm, count in counts if count < arm.seeds]
    return f"Missing (seeds there): {', '.join(lacking)}." if lacking else ""


def _facts(records: Sequence[Record]) -> str:
    """The origin of the runs, and whether the reported split is large enough."""
    truths = next((record.truths for record in records if record.split == REPORTED), {})
    few = [name for name, count in truths.items() if count < LEAST_BOXES]
    boxes = ", ".join(f"{name} {count}" for name, count in truths.items())
    commands = sorted({without_paths(record.command) for record in records})
    lines = [
        f"- runs: {len(records)}, {sum(record.seconds for record in records) / 3600:.1f} hours of training",
        f"- boxes in `{REPORTED}` that the metric counts: {boxes}"
        + (f"; FEWER than {LEAST_BOXES}: {', '.join(few)}" if few else ""),
        f"- devices: {'; '.join(sorted({record.device for record in records}))}",
        f"- commits: {', '.join(sorted({record.commit for record in records}))}",
        "- commands:",
    ]
    return "\n".join([*lines, *(f"  - `{command}`" for command in commands)])


def _teachers(records: Sequence[Record]) -> str:
    figures = [figure for figure in FIGURES if any(getattr(record, figure) is not None for record in teachers(records))]
    rows = [
        (_teacher(record), *(_number(record, figure) for figure in figures), str(record.steps))
        for record in teachers(records)
    ]
    names = [f"{figure} {unit}".strip() for figure, unit in FIGURES.items() if figure in figures]
    return "## Teachers\n\n" + markdown_table(("teacher", *names, "steps"), rows) if rows else ""


def _number(record: Record, figure: str) -> str:
    value = getattr(record, figure)
    return "" if value is None else number_text(value, figure)


def _teacher(record: Record) -> str:
    return record.teacher if record.arm == TEACHER else f"{record.teacher}, {record.arm}"
