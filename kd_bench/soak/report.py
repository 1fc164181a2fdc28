"""The report of `kd bench soak`: a table of stages, a sentence for each aim, and a plot."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_bench.soak.load import Load
from kd_bench.soak.pipeline_without_ros import Alone
from kd_bench.soak.process_watch import Usage
from kd_bench.tables import markdown_table, write_report
from kd_perception.atomic import atomic_path

STAGE_HEADINGS = ("stage", "alone p50 ms", "graph p50 ms", "p95", "p99", "p99 / p50")
GRAPH_LATENCY = "end_to_end"
FLAT_MB_PER_MINUTE = 1.0
MAX_TAIL, MAX_OVERHEAD = 1.5, 1.2
SHARE = 0.8  # of the measured capacity, is the load
LEAST_MEMORY_S = 60.0  # in less, a process that warms up looks like one that leaks
TEACHERS_OUTCOMES = ("answered", "dropped", "rejected", "blind")
NOT_COMPARED = (
    "teacher_late",
    "frames_without_student",
    "frames_without_cameras",
    "frames_without_pose",
    "clocks_apart",
)
MAX_COST = 0.1  # of the student's rate, for teacher and recorder
METHOD = """*End to end* is from the anchor image's arrival at the detector to the publication of its boxes: *wait*
for the other cameras, *calibration* (rig and pose), *preprocess* (JPEG decode and resize), *inference*, *decode*,
*messages*, and *hand over* between the stages' threads. *Alone* is the same pipeline on the same images in this run,
half of it before and half of it after the load, without a graph: decode to serialised detections, one frame after the
other. Every frame is counted by its FrameStatus; images lost on the way are counted by the gaps in their publication
numbers. Memory is what is resident; its slope is a straight line fitted to all but the first fifth of the time."""


def stage_rows(load: Load, alone: Alone) -> list[tuple[str, ...]]:
    """Percentiles of each stage as text."""
    alone_ms = {name: [stages[name] for stages in alone.stage_ms] for name in alone.stage_ms[0]}
    alone_ms[GRAPH_LATENCY] = list(alone.latency_ms)
    rows = []
    for stage in load.answered[0].stage_ms:
        p50, p95, p99 = np.percentile([frame.stage_ms[stage] for frame in load.answered], [50, 95, 99])
        compared = f"{np.median(alone_ms[stage]):.1f}" if stage in alone_ms else ""
        tail = f"{p99 / p50:.2f}" if p50 > 0.5 else ""  # of next to nothing a ratio says nothing
        rows.append((stage.replace("_", " "), compared, f"{p50:.1f}", f"{p95:.1f}", f"{p99:.1f}", tail))
    return rows


def process_rows(load: Load) -> list[tuple[str, ...]]:
    """Memory and processor time of each process as text."""
    rows = []
    for name, history in load.processes.items():
        cpu = (history[-1].cpu_s - history[0].cpu_s) / (history[-1].elapsed_s - history[0].elapsed_s)
        memory = [entry.memory_mb for entry in history]
        slope = slope_mb_per_minute(history)
        threads = max(entry.threads for entry in history)
        rows.append((name, f"{memory[0]:.0f}", f"{memory[-1]:.0f}", f"{slope:+.2f}", f"{cpu:.2f}", str(threads)))
    return rows


def slope_mb_per_minute(history: Sequence[Usage]) -> float:
    """Growth of resident memory after the first fifth of the time."""
    settled = history[len(history) // 5 :]
    if len(settled) < 2:
        return 0.0
    return float(
        np.polyfit([entry.elapsed_s / 60.0 for entry in settled], [entry.memory_mb for entry in settled], 1)[0]
    )


def verdicts(load: Load, alone: Alone) -> list[str]:
    """The result against each aim, one sentence each."""
    latency = [frame.stage_ms[GRAPH_LATENCY] for frame in load.answered]
    p50, p99 = np.percentile(latency, [50, 99])
    overhead = p50 / np.median(alone.latency_ms)
    lost = len(load.frames) - len(load.answered)
    incomplete = sum(not frame.complete for frame in load.answered)
    whole = lost == 0 and load.images_lost == 0 and incomplete == 0
    return [
        f"{_mark('frames', met=whole)} {len(load.answered)} of {len(load.frames)} processed, {incomplete} of them "
        f"without all cameras; {load.images_lost} images lost on the way (aim: none)",
        _memory_verdict(load),
        f"{_mark('tail', met=p99 <= MAX_TAIL * p50)} p99 {p99:.1f} ms is {p99 / p50:.2f} times p50 {p50:.1f} ms "
        f"(aim: at most {MAX_TAIL:g})",
        f"{_mark('overhead', met=overhead <= MAX_OVERHEAD)} graph latency is {overhead:.2f} times the pipeline's "
        f"alone, {np.median(alone.latency_ms):.1f} ms (aim: at most {MAX_OVERHEAD:g})",
    ]


def _memory_verdict(load: Load) -> str:
    if load.seconds < LEAST_MEMORY_S:
        return f"not judged: memory: {load.seconds:.0f} s are too short to see a leak, {LEAST_MEMORY_S:.0f} s are not"
    steepest = max(abs(slope_mb_per_minute(history)) for history in load.processes.values())
    return (
        f"{_mark('memory', met=steepest <= FLAT_MB_PER_MINUTE)} the steepest slope is {steepest:.2f} MB a minute "
        f"(aim: flat, at most {FLAT_MB_PER_MINUTE:g})"
    )


@dataclass(frozen=True)
class LearningRun:
    """A run with teacher and recorder that offers more than the student can process; without_hz: frames per second
    without the two, right before and right after, since a machine's own speed may drift."""

    load: Load
    without_hz: tuple[float, float]


def continual_verdict(run: LearningRun) -> str:
    """What teacher and recorder cost the student's rate."""
    learning, (before_hz, after_hz) = run.load, run.without_hz
    without_hz = (before_hz + after_hz) / 2.0
    cost = 1.0 - learning.answered_hz / without_hz
    compared, kept = (int(learning.recorded.get(name, "0")) for name in ("frames_compared", "frames_kept"))
    answered, *others = (int(learning.taught.get(f"frames_{name}", "0")) for name in TEACHERS_OUTCOMES)
    not_compared = ", ".join(f"{kind} {learning.recorded[kind]}" for kind in NOT_COMPARED if kind in learning.recorded)
    return (
        f"{_mark('continual', met=cost <= MAX_COST)} with teacher and recorder {learning.answered_hz:.1f} instead of "
        f"{without_hz:.1f} frames/s ({before_hz:.1f} before, {after_hz:.1f} after), {cost:.1%} less (aim: at most "
        f"{MAX_COST:.0%}); from start to end the teacher answered {answered} of {answered + sum(others)} frames, "
        f"{compared} were compared and {kept} kept" + (f" (not compared: {not_compared})" if not_compared else "")
    )


@dataclass(frozen=True)
class Soaked:
    """What was measured: a load, the pipeline alone, the overload that gave the capacity, and, where there was a
    teacher, what it and the recorder cost."""

    load: Load
    alone: Alone
    overload: Load
    learning: LearningRun | None = None


def write_soak_report(out: Path, model_id: str, soaked: Soaked) -> None:
    """Write the report as Markdown, and its picture next to it."""
    load, capacity_hz = soaked.load, soaked.overload.answered_hz
    facts = {
        "student": f"{model_id} on {load.engine}",
        "cores": str(len(os.sched_getaffinity(0))),
        "load": f"{load.offered_hz:.1f} frames/s, {SHARE:.0%} of the capacity ({capacity_hz:.1f} frames/s), "
        f"for {load.seconds / 60.0:.3g} minutes",
    }
    picture = out.with_suffix(".png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw_soak(load, soaked.alone, picture)
    write_report(out, "The node graph under load", facts, soak_markdown(soaked, picture.name))


def soak_markdown(soaked: Soaked, picture: str) -> str:
    """The report's body."""
    load, alone, overload, learning = soaked.load, soaked.alone, soaked.overload, soaked.learning
    gain = alone.overlapped_hz / alone.sequential_hz
    reasons: dict[str, int] = {}
    for frame in load.frames:
        if frame.reason:
            reasons[frame.reason] = reasons.get(frame.reason, 0) + 1
    not_answered = "".join(f"- {count} frames: {reason}\n" for reason, count in reasons.items())
    resets = sum(bool(frame.reset_reason) for frame in load.frames)
    throughput = [
        ("pipeline alone, stages in sequence", f"{alone.sequential_hz:.1f}"),
        ("pipeline alone, stages overlapped", f"{alone.overlapped_hz:.1f} ({gain:.2f} x)"),
        ("node graph, more offered than it can process", f"{overload.answered_hz:.1f}"),
    ]
    costs = []
    if learning is not None:
        costs = [continual_verdict(learning)]
        throughput.append(("the same with teacher and recorder", f"{learning.load.answered_hz:.1f}"))
    parts = [
        "".join(f"- {sentence}\n" for sentence in (*verdicts(load, alone), *costs)),
        not_answered,
        f"![Latency and memory over time]({picture})",
        markdown_table(STAGE_HEADINGS, stage_rows(load, alone)),
        METHOD,
        markdown_table(
            ("process", "MB at first", "MB at last", "MB a minute", "cores used", "threads"), process_rows(load)
        ),
        markdown_table(("throughput", "frames/s"), throughput),
        f"Under the overload that measured the capacity, {len(overload.frames) - len(overload.answered)} of "
        f"{len(overload.frames)} frames were dropped, each with a FrameStatus, and {overload.images_lost} images were "
        f"overwritten before they were taken. The bag restarted {resets} times during the load; time then jumps back, "
        "and the detector starts over.",
    ]
    return "\n\n".join(part.strip() for part in parts if part)


def draw_soak(load: Load, alone: Alone, path: Path) -> None:
    """A picture: latency of every frame, its distribution next to the pipeline's alone, memory of every process."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    course, spread, memory = figure.subplot_mosaic([["a", "b"], ["c", "c"]], width_ratios=(2.2, 1)).values()
    minutes = [frame.elapsed_s / 60.0 for frame in load.answered]
    latency = [frame.stage_ms[GRAPH_LATENCY] for frame in load.answered]
    inference = [frame.stage_ms["inference"] for frame in load.answered]
    course.plot(minutes, latency, ".", markersize=2, color="#1f77b4", label="graph, end to end")
    course.plot(minutes, inference, ".", markersize=2, color="#ff7f0e", label="of which inference")
    course.set(xlabel="minutes", ylabel="ms", ylim=(0, None), title="every processed frame")
    course.legend(markerscale=5, loc="upper right")
    bins = np.linspace(0.0, max(*latency, *alone.latency_ms), 60)
    spread.hist(latency, bins, density=True, alpha=0.7, label="graph")
    spread.hist(alone.latency_ms, bins, density=True, alpha=0.7, label="pipeline alone")
    spread.set(xlabel="ms", yticks=[], title="distribution")
    spread.legend()
    for name, history in load.processes.items():
        memory.plot([entry.elapsed_s / 60.0 for entry in history], [entry.memory_mb for entry in history], label=name)
    memory.set(xlabel="minutes", ylabel="resident MB", ylim=(0, None), title="memory of the processes")
    memory.legend()
    for axes in (course, spread, memory):
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90)


def _mark(aim: str, *, met: bool) -> str:
    return f"{'met:' if met else 'MISSED:'} {aim}:"
