"""The page of `kd bench latency`: of each network peers, frames, stages, and the operators that lose most."""

from dataclasses import dataclass
from statistics import median

from kd_bench.latency.frames import FrameTimes
from kd_bench.latency.limits import MachineLimits
from kd_bench.latency.peers import EAGER, PeerTimes
from kd_bench.latency.stages import HEADINGS, OPERATOR_HEADINGS, slowest_rows, stage_rows, stage_sums
from kd_bench.operators import Operator
from kd_bench.tables import markdown_table
from kd_perception.student.spec import Student

SLOWEST = 12  # operators that are listed
PEER_HEADINGS = ("engine", "best ms", "median", "of eager", "processor s", "apart")
MOST_OF_BACKBONE, LEAST_OF_EAGER = 2.0, 8.0
METHOD = """*MMAC* are millions of multiply-adds, *MB* what an operator reads and writes, its weights included. *Least
ms* is what the limits above allow: the longer of multiply-adds at the rate of a large matrix product, and bytes at the
rate of a copy in the caches. *Of limit* is least over measured; above 100 % bytes stay in a cache that is faster.
Times of operators are the engine's own counters, the best of several runs; the engine fuses nodes, and names the result
after one of them. *Of eager* compares with the faster memory layout of eager PyTorch in float32, best with best, since
other processes only ever add to a time. *Apart* is the greatest difference from a section's first row, relative to
max(1, |value|). *Backbone alone* is the same file cut behind its backbone, on the same images. The picture has parts,
stages and operators, as wide as their time; green is near the limit."""


@dataclass(frozen=True)
class NetworkReport:
    """All that was measured of a student's file; eager_ms: of PyTorch in float32 in its faster layout, if known."""

    student: Student
    precision: str
    operators: tuple[Operator, ...]
    peers: tuple[PeerTimes, ...]
    frame: FrameTimes
    missing: tuple[str, ...]
    eager_ms: float | None = None

    @property
    def title(self) -> str:
        """The student's name and the file's precision."""
        return f"{self.student.model_id}, {self.precision}"


def network_markdown(report: NetworkReport, limits: MachineLimits) -> str:
    """A section of the page."""
    sums = stage_sums(report.operators, limits)
    parts = [
        f"## {report.title}",
        markdown_table(PEER_HEADINGS, peer_rows(report)),
        "".join(f"- not measured: {sentence}\n" for sentence in report.missing),
        "".join(f"- {sentence}\n" for sentence in verdicts(report)),
        markdown_table(HEADINGS, stage_rows(sums)),
        f"The {SLOWEST} operators that lose most against the limits:",
        markdown_table(OPERATOR_HEADINGS, slowest_rows(report.operators, limits, SLOWEST)),
    ]
    return "\n\n".join(part.strip() for part in parts if part)


def peer_rows(report: NetworkReport) -> list[tuple[str, ...]]:
    """Text as PEER_HEADINGS names it."""
    rows = []
    for peer in report.peers:
        ratio = f"{report.eager_ms / peer.best_ms:.2f} x" if report.eager_ms else ""
        times = f"{peer.best_ms:.1f}", f"{median(peer.ms):.1f}"
        rows.append((peer.name, *times, ratio, f"{median(peer.cpu_s):.3f}", f"{peer.apart:.1e}"))
    return rows


def verdicts(report: NetworkReport) -> list[str]:
    """What a frame takes, and each aim with its result."""
    frame = report.frame
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in frame.stage_ms.items() if name != "total")
    energy = f"{frame.joules:.2f} J by {frame.source}" if frame.source else f"{frame.cpu_s:.3f} processor seconds"
    sentences = [f"bytes to boxes, six JPEGs of 1600x900: {frame.frame_ms:.1f} ms ({stages}), {energy}"]
    ratio = frame.times_backbone
    sentence = f"that is {ratio:.2f} times the image backbone alone, {frame.backbone_ms:.1f} ms"
    aim = f" (aim: at most {MOST_OF_BACKBONE:g})"
    sentences.append(_judged(sentence, aim, report, met=ratio <= MOST_OF_BACKBONE))
    if report.eager_ms is not None:
        faster = report.eager_ms / min(peer.best_ms for peer in report.peers if not peer.name.startswith(EAGER))
        sentence = f"the fastest engine is {faster:.2f} times as fast as eager PyTorch in float32"
        aim = f" (aim: at least {LEAST_OF_EAGER:g})"
        sentences.append(_judged(sentence, aim, report, met=faster >= LEAST_OF_EAGER))
    return sentences


def _judged(sentence: str, aim: str, report: NetworkReport, *, met: bool) -> str:
    """With the aim, which is set for int8 files."""
    if report.precision != "int8":
        return sentence
    return f"{'met:' if met else 'MISSED:'} {sentence}{aim}"
