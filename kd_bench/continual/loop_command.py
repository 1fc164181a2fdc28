"""`kd bench continual --loop`: the loop from the shipped student by day to its update at night, and its report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from kd_bench.continual.arms import UPDATE_RECIPE
from kd_bench.continual.domains import BUFFER_SHARE, DAY, NIGHT, plans_of
from kd_bench.continual.loop import LoopInputs, LoopResult, LoopSettings, run_loop
from kd_bench.ledger.splits import Split, SplitPlan
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, resource
from kd_training.config.continual import BufferConfig
from kd_training.config.experiment import load_student_config
from kd_training.continual.gate_command import COLUMNS, gate_rows

NIGHT_SCENES = 8  # that the robot drives through
METHOD = f"""A robot's graph (detector, LiDAR teacher, recorder) runs while bags of the night are replayed into it. What
the recorder kept is imported and labelled by the teacher; no label of the night is read. The update replays a buffer of
the day, which holds {BUFFER_SHARE:.0%} of the keyframes of both domains. The gate compares both students on held-out
scenes. Then the running detector takes the new file while the same bags are replayed again. *Lost*: frames of a bag
without detections."""


@dataclass(frozen=True)
class LoopLength:
    """Scenes that the robot drives through, how fast they are replayed, and steps of the update."""

    scenes: int = NIGHT_SCENES
    rate: float = 0.5
    steps: int = 200


def loop_plans(length: LoopLength) -> dict[str, SplitPlan]:
    """The sets that it needs: parts of the ledger's domains, so that either finds what the other rendered."""
    scenes = {NIGHT.train_name: length.scenes}
    plans = plans_of((DAY, NIGHT))
    return {name: replace(plan, scenes=scenes.get(name, plan.scenes)) for name, plan in plans.items()}


def show_shipped_loop(splits: Mapping[str, Split], teacher: Path, work: Path, report: Path, length: LoopLength) -> int:
    """Run the loop of the shipped student, and write its report; 1 where the gate refused, else 0."""
    day, night = splits[DAY.train_name], splits[NIGHT.train_name]
    seen = day.keyframes + night.keyframes * length.scenes // len(night.scenes)
    buffer = BufferConfig(keyframes=round(BUFFER_SHARE * seen))
    inputs = shipped_loop(splits, teacher, work, length)
    result = show_loop(inputs, LoopSettings(rate=length.rate, buffer=buffer), report, Console())
    return 1 if result.gate.refused else 0


def shipped_loop(splits: Mapping[str, Split], teacher: Path, work: Path, length: LoopLength) -> LoopInputs:
    """The shipped student meets the night."""
    config = load_student_config(resource(UPDATE_RECIPE))
    day, night = splits[DAY.train_name], splits[NIGHT.train_name]
    continual = replace(config.continual, student=str(resource(SHIPPED_SINGLE_FRAME_STUDENT)), domain=NIGHT.name)
    config = replace(
        config,
        continual=continual,
        distill=replace(config.distill, teacher=str(teacher)),
        data=replace(config.data, roots=[day.source]),
        schedule=replace(config.schedule, steps=length.steps),
    )
    held_out = {world.name: splits[world.held_out_name].source for world in (DAY, NIGHT)}
    driven = replace(night.source, scenes=list(night.scenes[: length.scenes]))
    return LoopInputs(config, driven, held_out, work)


def show_loop(inputs: LoopInputs, settings: LoopSettings, report: Path, console: Console) -> LoopResult:
    """Run the loop, show what came of it, and write it into a Markdown file."""
    result = run_loop(inputs, settings, console.print)
    rows = drive_rows(result)
    console.print(terminal_table("frames", DRIVES, rows))
    console.print(terminal_table("held-out scenes", COLUMNS, gate_rows(result.gate)))
    facts = {
        "student": result.gate.old,
        "update": f"{inputs.config.schedule.steps} steps on {result.kept} recorded frames; {result.gate.sentence}",
    }
    tables = (markdown_table(DRIVES, rows), markdown_table(COLUMNS, gate_rows(result.gate)))
    write_report(report, "The loop end to end", facts, "\n\n".join((*tables, METHOD)))
    console.print(f"wrote [bold]{report}[/bold]")
    return result


DRIVES = ("drive", "frames", "lost", "students that answered")


def drive_rows(result: LoopResult) -> list[tuple[str, ...]]:
    """A line for each drive, as DRIVES names the columns."""
    first, second = result.first, result.second
    rows = [("first", str(len(first.offered)), str(first.lost), ", ".join(first.models))]
    if second is not None:
        rows.append(("with the swap", str(second.offered), str(second.lost), ", then ".join(second.models)))
    return rows
