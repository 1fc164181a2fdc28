"""`continual.md`: the ledger as tables and a picture."""

from collections.abc import Sequence
from pathlib import Path

from kd_bench.continual.arms import ARMS, JOINT, SEEDS, LearningArm
from kd_bench.continual.cells import minutes_text, percent_text, points_text
from kd_bench.continual.comparison import FIGURES, Learned, known_estimate, main_results
from kd_bench.continual.domains import BUFFER_SHARE, LEAST_BOXES, SEQUENCES, DomainSequence
from kd_bench.continual.gates import few_boxes, gates
from kd_bench.continual.pictures import draw_learned
from kd_bench.continual.records import DomainRecord
from kd_bench.ledger.commands import without_paths
from kd_bench.ledger.gates import GATE_HEADINGS, gate_rows
from kd_bench.tables import markdown_table
from kd_perception.atomic import write_text
from kd_perception.errors import DataError

METHOD = f"""A student learns one domain after another. All arms begin with the same student of the first domain, see
the same data and take the same number of steps. That student is a shipped one, which learnt the first domain's city and
light from other scenes; in the sequence of classes it is trained. Joint training goes on from it with the labels of all
domains at once, and sees each keyframe as often as fine-tuning sees the new domain's; in the sequence of classes it
begins from the start, and sees each as often as the first student saw its own. Scenes to learn from and held-out scenes
differ. A buffer holds at most {100 * BUFFER_SHARE:g} % of a sequence's keyframes.

Accuracy is the mean AP over a domain's classes on its held-out scenes, times 100. *Forgetting*: mean over the earlier
domains of (best - last) / best. *Since learnt*: the same against the student that had just learnt the domain.
*Backward transfer*: mean change on earlier domains since they were learnt. *Forward transfer*: mean accuracy on
domains that are yet to be learnt. After ± stands half the 95 % interval over seeds (Student's t; none with one). *Time*
is the processor's, on a GPU wall time; runs that were timed by the wall clock next to other programs have none."""


def write_continual_report(records: Sequence[DomainRecord], path: Path) -> list[Path]:
    """Write the report and its picture next to it; returns the files.

    Raises DataError for a ledger without an arm that has learnt all domains.
    """
    found = main_results(records)
    if not found:
        raise DataError("the ledger holds no arm that has learnt all domains; run kd bench continual first")
    picture = path.with_suffix(".png")
    draw_learned(list(found.values()), picture)
    body = [
        f"# Continual learning\n\n{METHOD}",
        _facts(records),
        f"## What was wanted\n\n{markdown_table(GATE_HEADINGS, gate_rows(gates(records)))}",
        f"![Accuracy by domain, and matrices of the arms]({picture.name})",
        *(_section(sequence, found.get(sequence.name)) for sequence in SEQUENCES),
    ]
    write_text(path, "\n\n".join(body).strip() + "\n")
    return [path, picture]


def _facts(records: Sequence[DomainRecord]) -> str:
    few = few_boxes(records)
    lines = [
        f"- runs: {len(records)}, {sum(record.seconds for record in records) / 3600:.1f} hours of training",
        f"- boxes that the metric counts: at least {LEAST_BOXES} of each class and domain"
        + (f", but FEWER of {', '.join(few)}" if few else ""),
        f"- devices: {'; '.join(sorted({record.device for record in records}))}",
        f"- commits: {', '.join(sorted({record.commit for record in records}))}",
        "- commands:",
        *(f"  - `{command}`" for command in sorted({without_paths(record.command) for record in records})),
    ]
    return "\n".join(lines)


def _section(sequence: DomainSequence, found: Learned | None) -> str:
    head = f"## {sequence.title}: `{sequence.name}`"
    if found is None:
        return f"{head}\n\nNo run yet."
    parts = [head, _figures(found), *(_matrix(found, arm) for arm in found.arms), _missing(found)]
    return "\n\n".join(part for part in parts if part)


def _figures(found: Learned) -> str:
    """One line for each arm."""
    rows = [
        (
            arm.name, str(len(found.seeds(arm.name))),
            *(points_text(found.figure(arm.name, name)) for name in FIGURES),
            percent_text(found.accuracy_share(arm.name)),
            minutes_text(known_estimate(found.last_seconds(arm.name))), percent_text(found.time_share(arm.name)),
            str(found.buffer(arm.name)), arm.about,
        )
        for arm in _there(found)
    ]  # fmt: skip
    names = (
        "arm",
        "seeds",
        *FIGURES,
        "of joint's mAP",
        "last training, min",
        "of joint's time",
        "buffer",
        "what it is",
    )
    return markdown_table(names, rows)


def _there(found: Learned) -> list[LearningArm]:
    return [arm for arm in ARMS[found.sequence.name] if arm.name in found.arms]


def _matrix(found: Learned, arm: str) -> str:
    """Accuracy on every domain after each was learnt, over seeds."""
    names, seeds = found.sequence.names, found.seeds(arm)
    matrices = {seed: found.matrix(arm, seed) for seed in seeds}
    rows = []
    for i, learnt in enumerate(names):
        cells = [known_estimate({seed: matrices[seed][i, j] for seed in seeds}) for j in range(len(names))]
        if any(cell is not None for cell in cells):
            rows.append((learnt if arm != JOINT.name else "all", *(points_text(cell) for cell in cells)))
    return f"`{arm}`, accuracy:\n\n" + markdown_table(("after learning", *names), rows)


def _missing(found: Learned) -> str:
    counts = [(arm.name, len(found.seeds(arm.name))) for arm in ARMS[found.sequence.name]]
    lacking = [f"{name} {count} of {SEEDS}" for name, count in counts if count < SEEDS]
    return f"Missing (seeds there): {', '.join(lacking)}." if lacking else ""
