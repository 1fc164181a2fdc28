"""`kd continual gate`: whether an updated student may take the old one's place."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kd_perception.datasets.rigs import ANCHOR_HELP
from kd_perception.options.detector import DetectorOptions

if TYPE_CHECKING:
    from kd_training.continual.gate import ReleaseGate

GATE_FILE, PAGE_FILE = "gate.json", "gate.html"
KEPT_FOLDER = "scores"  # in --out: what student files scored
COLUMNS = ("domain", "mAP before", "after", "NDS before", "after", "loss", "worst class")


def gate(
    *,
    old: Annotated[Path, typer.Argument(help="Student file (.onnx) that runs now, or the name of a shipped one.")],
    new: Annotated[Path, typer.Argument(help="Student file that is to take its place.")],
    domain: Annotated[
        list[str], typer.Option(help="NAME=FOLDER/VERSION[:SCENE,SCENE] of held-out scenes; for every domain so far.")
    ],
    allowed_loss: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of mAP or NDS that a domain may lose.")
    ] = 0.02,
    engine: Annotated[str, typer.Option(help="auto, openvino, onnxruntime or another one.")] = DetectorOptions.engine,
    anchor: Annotated[str, typer.Option(help=ANCHOR_HELP)] = "",
    out: Annotated[
        Path, typer.Option(help=f"Folder for {GATE_FILE}, {PAGE_FILE} and the scores, which are not computed twice.")
    ] = Path("out/gate"),
) -> None:
    """Compare two students on held-out scenes of every domain; exit status 1 where one loses more than is allowed."""
    from kd_perception.atomic import write_bytes, write_text
    from kd_perception.drawing.pages import render_page
    from kd_perception.student.spec import load_student
    from kd_training.continual.gate import HeldOutSet, StudentScorer, judge_release, to_json

    console, domains = Console(), [HeldOutSet.of(text) for text in domain]
    evaluator = StudentScorer(out / KEPT_FOLDER, engine, anchor=anchor)
    judged = judge_release(load_student(old), load_student(new), domains, evaluator, allowed_loss)
    rows = gate_rows(judged)
    table = Table(*COLUMNS, title=f"{judged.old} -> {judged.new}")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    write_bytes(out / GATE_FILE, to_json(judged))
    page = render_page("gate.html", title="Release gate", sentence=judged.sentence, columns=COLUMNS, rows=rows)
    write_text(out / PAGE_FILE, page)
    console.print(judged.sentence)
    console.print(f"wrote {out / GATE_FILE} and {out / PAGE_FILE}")
    if judged.refused:
        raise typer.Exit(1)


def gate_rows(judged: "ReleaseGate") -> list[tuple[str, ...]]:
    """The verdicts, one row a domain, cells as COLUMNS has them."""
    return [
        (
            verdict.domain,
            f"{verdict.old.mean_ap:.3f}",
            f"{verdict.new.mean_ap:.3f}",
            f"{verdict.old.nds:.3f}",
            f"{verdict.new.nds:.3f}",
            f"{verdict.loss:+.1%}",
            f"{verdict.worst} -{verdict.worst_loss:.3f}" if verdict.worst else "none lost",
        )
        for verdict in judged.domains
    ]
