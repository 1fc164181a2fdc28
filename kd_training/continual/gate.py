"""The gate before release: an updated student must not lose more than a share of what the old one had on any domain.

Both student files are evaluated on held-out scenes of every domain, over the old one's classes: so figures of a student
that has learnt more classes are comparable. What a file scores on a set is kept and not computed twice.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from kd_perception.atomic import write_bytes
from kd_perception.commit import code_commit
from kd_perception.datasets.identities import keyframe_digest
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names, scene_samples, tables_folder
from kd_perception.datasets.rigs import check_anchor
from kd_perception.errors import ConfigError
from kd_perception.evaluation.metric import check_ground_truth, evaluate_results
from kd_perception.evaluation.predictions import detect_scenes
from kd_perception.evaluation.result_folder import RESULTS_FILE
from kd_perception.evaluation.results import write_results
from kd_perception.geometry.classes import ClassList
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import Student

SCORE_THRESHOLD = 0.02  # of detections that the metric sees
SCORES_FILE = "scores.json"
ALLOWED_LOSS = 0.02


@dataclass(frozen=True)
class HeldOutSet:
    """Scenes of a domain that no student learnt from, all of the set where none are named."""

    domain: str
    root: Path
    version: str
    scenes: tuple[str, ...] = ()

    @staticmethod
    def of(text: str) -> "HeldOutSet":
        """NAME=FOLDER/VERSION, or NAME=FOLDER/VERSION:SCENE,SCENE; raises ConfigError for anything else."""
        name, equals, place = text.partition("=")
        folder, _, scenes = place.partition(":")
        path = Path(folder)
        if not (name and equals and len(path.parts) > 1):
            raise ConfigError(
                f"domain '{text}' is not NAME=FOLDER/VERSION, for example night=out/synthetic/night/v1.0-synth; scenes "
                "may follow behind a colon, with commas between them"
            )
        return HeldOutSet(name, path.parent, path.name, tuple(filter(None, scenes.split(","))))


class DomainScores(msgspec.Struct, frozen=True):
    """What a student scores on a set: mAP, NDS, and AP of each class that has ground truth there."""

    mean_ap: float
    nds: float
    classes: dict[str, float]


class DomainVerdict(msgspec.Struct, frozen=True):
    """A domain before and after. loss: the larger of the relative losses of mAP and NDS, negative for a gain; worst:
    the class that lost most of its AP, '' where none lost, and how much it lost."""

    domain: str
    old: DomainScores
    new: DomainScores
    loss: float
    worst: str
    worst_loss: float

    @staticmethod
    def of(domain: str, old: DomainScores, new: DomainScores) -> "DomainVerdict":
        """Compare the two."""
        losses = {name: ap - new.classes[name] for name, ap in old.classes.items()}
        worst = max(losses, key=losses.__getitem__, default="")
        loss = float(np.max([relative_loss(old.mean_ap, new.mean_ap), relative_loss(old.nds, new.nds)]))  # NaN stays
        lost = losses.get(worst, 0.0)
        return DomainVerdict(domain, old, new, loss, worst if lost > 0 else "", max(lost, 0.0))


class ReleaseGate(msgspec.Struct, frozen=True):
    """The verdicts on an updated student, and the share that a domain may lose."""

    old: str
    new: str
    allowed_loss: float
    domains: tuple[DomainVerdict, ...]

    @property
    def refused(self) -> tuple[DomainVerdict, ...]:
        """The domains that lose more than is allowed, or of which nobody knows."""
        return tuple(verdict for verdict in self.domains if not verdict.loss <= self.allowed_loss)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if not self.refused:
            return f"{self.new} may replace {self.old}: no domain loses more than {self.allowed_loss:.1%}"
        lost = ", ".join(f"{verdict.domain} loses {verdict.loss:.1%}" for verdict in self.refused)
        return f"{self.new} may not replace {self.old}: {lost}, and {self.allowed_loss:.1%} is allowed"


def relative_loss(old: float, new: float) -> float:
    """(old - new) / old; 0 where there was nothing to lose."""
    return 0.0 if old <= 0 else (old - new) / old


@dataclass(frozen=True)
class StudentScorer:
    """Scores student files on sets, on an engine, and keeps the scores in a folder. `anchor`: as open_nuscenes has
    it."""

    kept: Path
    engine: str
    progress: Callable[[int, int], None] = lambda done, total: None
    anchor: str = ""

    def scores(self, student: Student, held_out: HeldOutSet, classes: ClassList) -> DomainScores:
        """Over `classes`, detections of others left out. Raises DataError for a set that cannot be evaluated."""
        folder = self.kept / f"{student.spec.name}-{self._key(student, held_out, classes)}"
        try:
            return msgspec.json.decode((folder / SCORES_FILE).read_bytes(), type=DomainScores)
        except (OSError, msgspec.DecodeError):
            scores = self._evaluated(student, held_out, classes, folder)
            write_bytes(folder / SCORES_FILE, msgspec.json.encode(scores))
            return scores

    def _evaluated(self, student: Student, held_out: HeldOutSet, classes: ClassList, folder: Path) -> DomainScores:
        nusc = open_nuscenes(held_out.root, held_out.version, self.anchor)
        check_anchor(self.anchor, [nusc])
        scenes = list(held_out.scenes) or scene_names(nusc)
        check_ground_truth(nusc, [token for scene in scenes for token in scene_samples(nusc, scene)], classes)
        options = PipelineOptions(score_threshold=SCORE_THRESHOLD)
        with RigPipelines(student, self.engine, options) as pipelines:
            found = detect_scenes(pipelines, nusc, scenes, progress=self.progress).results
        rows = {
            token: [row for row in boxes if row["detection_name"] in classes.names] for token, boxes in found.items()
        }
        write_results(folder / RESULTS_FILE, rows)
        metrics = evaluate_results(nusc, folder / RESULTS_FILE, scenes, classes=classes)
        there = {name: row.ap for name, row in metrics.classes.items() if row.ground_truths}
        return DomainScores(metrics.mean_ap, metrics.nds, there)

    def _key(self, student: Student, held_out: HeldOutSet, classes: ClassList) -> str:
        """A digest of all that decides the scores: what the student sees, tables by name, size and time, and the code
        that runs: two students are compared by one."""
        tables = sorted(tables_folder(held_out.root, held_out.version).glob("*.json"))
        stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in tables]
        nusc = open_nuscenes(held_out.root, held_out.version, self.anchor)
        samples = [token for scene in held_out.scenes or scene_names(nusc) for token in scene_samples(nusc, scene)]
        parts = (
            student.sha256,
            held_out.root.resolve(),
            held_out.version,
            held_out.scenes,
            stamps,
            keyframe_digest(nusc, samples, cameras=True),
            classes,
            (self.engine, self.anchor, SCORE_THRESHOLD, code_commit()),
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def judge_release(
    old: Student,
    new: Student,
    domains: Sequence[HeldOutSet],
    evaluator: StudentScorer,
    allowed_loss: float = ALLOWED_LOSS,
) -> ReleaseGate:
    """Evaluate both students on every domain and compare.

    Raises ConfigError where the new student lacks a class, a domain is named twice or none is; DataError for a set that
    cannot be evaluated.
    """
    forgotten = [name for name in old.spec.classes.names if name not in new.spec.classes.names]
    if forgotten:
        raise ConfigError(f"{new.model_id} does not detect {', '.join(forgotten)}, which {old.model_id} does")
    names = [domain.domain for domain in domains]
    if not names or len(set(names)) < len(names):
        raise ConfigError("give every domain once, with a name of its own: --domain NAME=FOLDER/VERSION")
    if not 0.0 <= allowed_loss < 1.0:
        raise ConfigError(f"the allowed loss is {allowed_loss:g}; give a share from 0 to below 1")
    classes = old.spec.classes
    verdicts = tuple(
        DomainVerdict.of(domain.domain, *(evaluator.scores(student, domain, classes) for student in (old, new)))
        for domain in domains
    )
    return ReleaseGate(old.model_id, new.model_id, allowed_loss, verdicts)


def to_json(gate: ReleaseGate) -> bytes:
    """The gate's file: what was judged, and the verdict in words."""
    found = {**msgspec.to_builtins(gate), "refused": [verdict.domain for verdict in gate.refused]}
    return msgspec.json.format(msgspec.json.encode({**found, "verdict": gate.sentence}), indent=1)
