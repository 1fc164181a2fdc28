"""The loop end to end: a robot drives, its LiDAR teacher disputes, the student learns, a gate decides, it is swapped.

A night bag is replayed into a running graph with `continual:=true`. What the recorder kept becomes a data set that the
teacher labels. The update learns from it, the gate compares both students on held-out sets, and the running detector
takes the new file while the bag is replayed again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kd_bench.continual.robot import Drive, DriveBag, LearningRobot, SwapDrive, running_robot
from kd_bench.options import EngineChoice
from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.bringup.graph import Graph, bev_student_graph
from kd_perception.continual.recording import read_recording
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.versions import BAG_VERSION
from kd_perception.datasets.written_tables import is_written
from kd_perception.imports.bag import BagImport, import_bag
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.teacher import TeacherOptions
from kd_perception.student.spec import load_student
from kd_training.checkpoints.checkpoint import STATE_FILE
from kd_training.checkpoints.export_teacher import export_teacher
from kd_training.checkpoints.models import load_model, load_teacher
from kd_training.config.continual import BufferConfig
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import DataRoot
from kd_training.continual.ancestry import updated_name
from kd_training.continual.buffer import add_domain
from kd_training.continual.gate import ALLOWED_LOSS, HeldOutSet, ReleaseGate, StudentScorer, judge_release
from kd_training.continual.update import new_domain, run_update
from kd_training.data.replay_buffer import is_buffer, read_buffer
from kd_training.evaluation.uncertainty import uncertainties

SYNC_DEADLINE_MS = 5000.0  # a busy machine must not make frames incomplete
TEACHER_FILE, RECORDING, IMPORTED, BUFFER, UPDATE = "teacher.onnx", "recording", "recorded", "buffer", "update"


@dataclass(frozen=True)
class LoopInputs:
    """What the loop is given.

    `config`: of the update: its continual.student is the robot's student file, its distill.teacher the teacher's
    weights, and data.roots the labelled scenes of earlier domains: they fill the buffer and calibrate the teacher.
    `driven`: the new domain, whose labels nobody reads; `held_out`: data sets by domain; `work`: folder of it all.
    """

    config: TrainConfig
    driven: DataRoot
    held_out: Mapping[str, DataRoot]
    work: Path


@dataclass(frozen=True)
class LoopSettings:
    """How fast bags are replayed, the engine, the recorder's options, the buffer, and what a domain may lose."""

    rate: float = 0.5
    engine: EngineChoice = EngineChoice()
    recorder: RecorderOptions = RecorderOptions(interval_s=0.5, place_m=0.5)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    allowed_loss: float = ALLOWED_LOSS


@dataclass(frozen=True)
class LoopResult:
    """Frames of the first drive, frames kept of it, what the gate said, and the drive with the swap (None: refused)."""

    first: Drive
    kept: int
    gate: ReleaseGate
    second: SwapDrive | None


def run_loop(inputs: LoopInputs, settings: LoopSettings, report: Callable[[str], None]) -> LoopResult:
    """Carry it out; `report` gets sentences.

    Raises KdError where a part of it fails. What was made stays in `work`, and the same call goes on from there.
    """
    student, work = Path(inputs.config.continual.student), inputs.work
    bags = write_bags(inputs.driven, work / "bags")
    teacher = work / TEACHER_FILE
    if not teacher.is_file():
        export_teacher(load_teacher(Path(inputs.config.distill.teacher)), teacher, {}, {})
    cameras = cameras_of(inputs.driven)
    graph = robot_graph(student, teacher, cameras, work / RECORDING, settings)
    with running_robot(graph, cameras, work / "logs", settings.rate) as robot:
        first = robot.drive(bags)
        kept = len(read_recording(work / RECORDING).frames)
        report(f"{len(first.answered)} of {len(first.offered)} frames answered, {kept} frames kept")
        updated = work / UPDATE / updated_name(inputs.config)
        for sentence in () if is_learnt(inputs, updated) else learn(inputs, settings.buffer):
            report(sentence)
        gate = judged(inputs, updated, settings)
        report(gate.sentence)
        second = None if gate.refused else swapped(robot, bags, updated)
    return LoopResult(first, kept, gate, second)


def write_bags(driven: DataRoot, folder: Path) -> tuple[DriveBag, ...]:
    """A bag of each scene, those that are missing written."""
    nusc = open_nuscenes(Path(driven.root), driven.version)
    bags = []
    for scene in driven.scenes or scene_names(nusc):
        path = folder / scene
        if not path.is_dir():
            write_scene(nusc, scene, path)
        stamps = (1000 * load_frame(nusc, token).timestamp_us for token in scene_samples(nusc, scene))
        bags.append(DriveBag(path, frozenset(stamps)))
    return tuple(bags)


def cameras_of(driven: DataRoot) -> tuple[str, ...]:
    """Names of the rig's cameras, the anchor first."""
    nusc = open_nuscenes(Path(driven.root), driven.version)
    rig = nusc.rig_of(scene_samples(nusc, scene_names(nusc)[0])[0])
    return (rig.anchor, *(name for name in rig.cameras if name != rig.anchor))


def robot_graph(student: Path, teacher: Path, cameras: Sequence[str], recording: Path, settings: LoopSettings) -> Graph:
    """The detector, its teacher and the recorder."""
    detector = DetectorOptions(
        model=student, engine=settings.engine.name, threads=settings.engine.threads, camera_names=tuple(cameras),
        transport="compressed", reliable_input=True, sync_deadline_ms=SYNC_DEADLINE_MS,
        wait_for_subscribers=("objects=1", "status=1"),
    )  # fmt: skip
    teaching = TeacherOptions(model=teacher, rate_hz=0.0, engine=settings.engine.name, reliable_input=True)
    recorder = replace(settings.recorder, folder=recording)
    return bev_student_graph(detector, GraphOptions(use_sim_time=True, continual=True), teaching, recorder)


def learn(inputs: LoopInputs, settings: BufferConfig) -> Iterator[str]:
    """The update on what was recorded, with its sentences; without one human label of the new domain."""
    work, config = inputs.work, inputs.config
    if not is_written(work / IMPORTED, BAG_VERSION):
        import_bag(BagImport(work / RECORDING, work / IMPORTED))
    fill_buffer(inputs, settings)
    recorded = DataRoot(root=str(work / IMPORTED), version=BAG_VERSION)
    pseudo = replace(config.data.pseudo, folder=str(work / "labels"), calibration=config.data.roots)
    update = replace(config.continual, replay=replace(config.continual.replay, folder=str(work / BUFFER)))
    data = replace(config.data, roots=[], unlabelled=[recorded], pseudo=pseudo, validation=[])
    resume = (work / UPDATE / STATE_FILE).is_file()
    yield from run_update(replace(config, data=data, continual=update), work / UPDATE, resume=resume)


def is_learnt(inputs: LoopInputs, updated: Path) -> bool:
    """Whether an update got to its end: its file is there, and then the buffer has taken the domain in."""
    buffer = inputs.work / BUFFER
    if not (updated.is_file() and is_buffer(buffer)):
        return False
    return inputs.config.continual.domain in {domain.name for domain in read_buffer(buffer).state.domains}


def fill_buffer(inputs: LoopInputs, settings: BufferConfig) -> None:
    """A buffer of the earlier domains, unless there is one."""
    buffer, config = inputs.work / BUFFER, inputs.config
    if is_buffer(buffer):
        return
    earlier = new_domain(replace(config, continual=replace(config.continual, domain="earlier")))
    weights = Path(config.continual.student).with_suffix(".safetensors")
    unsure = uncertainties(load_model(weights), earlier.frames)
    add_domain(buffer, replace(earlier, uncertainty=unsure), settings)


def judged(inputs: LoopInputs, updated: Path, settings: LoopSettings) -> ReleaseGate:
    """Both students on the held-out sets."""
    sets = [HeldOutSet(name, Path(source.root), source.version) for name, source in inputs.held_out.items()]
    evaluator = StudentScorer(inputs.work / "gate", settings.engine.name)
    old, new = load_student(Path(inputs.config.continual.student)), load_student(updated)
    return judge_release(old, new, sets, evaluator, settings.allowed_loss)


def swapped(robot: LearningRobot, bags: Sequence[DriveBag], updated: Path) -> SwapDrive:
    """The robot drives on while its detector takes the updated student."""
    return robot.drive_while(bags, lambda client: client.swap(str(updated.resolve())))
