"""What runs together, described once: nodes, parameters, remappings and how they wait for each other.

The standard launch files (`bringup.ros_launch`) and the plain-process bring-up (`bringup.processes`) both start
exactly what stands here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kd_perception.bringup import autoware
from kd_perception.errors import ConfigError, KdError
from kd_perception.options.arguments import Arguments, parameters_of
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.option import Parameter, options_of
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.options.teacher import TeacherOptions
from kd_perception.options.visualizer import VisualizerOptions
from kd_perception.resources import resource
from kd_perception.topics import SAMPLE, TF_STATIC_TOPIC, TF_TOPIC, camera_topics

LOCKSTEP_DEADLINE_MS = 5000.0  # evaluation must not depend on how busy the machine is
OBJECTS = "bev_student/output/objects"
STATUS = "bev_student/output/status"

# What a command or a launch file sets. The parameter files state the rest, which a robot's integrator may edit there.
COMMON = ("model", "engine", "camera_names", "score_threshold", "threads", "engine_cache", "ignore_mask")
DETECTOR = (*COMMON, "transport", "output_messages", "build_only")
RIG = (
    "camera_topics",
    "image_topic",
    "rectified",
    "base_frame",
    "odometry_frame",
    "camera_motion",
    "views_per_camera",
    "sync_tolerance_ms",
    "sync_deadline_ms",
)
NO_TEACHER, NO_RECORDER = TeacherOptions(), RecorderOptions()  # without a file and a folder
TEACHER = ("model", "rate_hz")
SHARED = ("base_frame", "odometry_frame", "engine_cache")  # what the teacher takes from the detector next to it
RECORDER = ("folder", "budget_mb")
REPLAY = ("bag", "lockstep", "rate", "loop")
EVALUATOR = ("out", "dataroot", "version", "classes", "output_messages")
VISUALIZER = ("camera_names", "transport", "classes")
GRAPH = (
    "use_sim_time",
    "visualize",
    "rviz",
    "namespace",
    "parameter_file",
    "odometry_topic",
    "points_topic",
    "tf_topic",
)
BEV_STUDENT_ARGUMENTS = (
    Arguments(DetectorOptions(), (*DETECTOR, *RIG), "bev_student"),
    Arguments(GraphOptions(), (*GRAPH, "preset", "continual"), "bev_student"),
    Arguments(NO_TEACHER, TEACHER, "lidar_teacher", optional=True),
    Arguments(NO_RECORDER, RECORDER, "hard_sample_recorder", optional=True),
)
REPLAY_EVALUATE_ARGUMENTS = (
    Arguments(ReplayOptions(lockstep=True), REPLAY, "replay"),
    Arguments(DetectorOptions(), (*COMMON, *RIG), "bev_student"),
    Arguments(EvaluatorOptions(out=Path("out/replay")), EVALUATOR, "evaluator"),
    Arguments(GraphOptions(use_sim_time=True), GRAPH, "bev_student"),
)


class GraphError(KdError):
    """A node of the graph could not be started, configured or activated, or it ended too early."""


@dataclass(frozen=True)
class NodeSpec:
    """One lifecycle node as a process of its own.

    executable: console script and package of `kd_perception.nodes`; parameters override those of `parameter_files`;
    remappings: (from, to) topic or service names; required: the whole graph ends when this process does; dispensable:
    once it is active the graph goes on without it, and says so, when this process ends.
    """

    executable: str
    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    parameter_files: tuple[Path, ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    required: bool = False
    dispensable: bool = False


@dataclass(frozen=True)
class RvizSpec:
    """RViz with a display configuration, on /clock or on the system's time; remappings: (from, to) topics."""

    config: Path
    use_sim_time: bool
    remappings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of their configuration and activation, and RViz if wanted, all in one namespace ('': none)."""

    nodes: tuple[NodeSpec, ...]
    rviz: RvizSpec | None = None
    namespace: str = ""

    @property
    def required(self) -> NodeSpec | None:
        """The node whose end is the graph's end; None runs until interrupted."""
        return next((node for node in self.nodes if node.required), None)


def bev_student_graph(
    detector: DetectorOptions,
    graph: GraphOptions,
    teacher: TeacherOptions = NO_TEACHER,
    recorder: RecorderOptions = NO_RECORDER,
) -> Graph:
    """The detector on live topics <camera>/image[/compressed], <camera>/camera_info, odom, tf; pictures if wanted.

    With `build_only` the engine is opened (and built and cached where the engine does that) and the graph ends; nothing
    is shown. With `continual` the LiDAR teacher and the recorder run next to it. The preset `autoware` changes topics,
    frames and messages: see `bringup.autoware`. Raises ConfigError if `continual` lacks the teacher or the recording.
    """
    if graph.preset == "autoware":
        detector = autoware.with_defaults(detector)
        plain = bev_student_graph(detector, replace(graph, preset="none"), teacher, recorder)
        student, *others = (replace(node, remappings=autoware.renamed(node.remappings)) for node in plain.nodes)
        student = replace(student, remappings=(*student.remappings, autoware.OBJECTS))
        return replace(plain, nodes=(student, *others))
    if (graph.visualizer or graph.continual) and "kd" not in detector.output_messages:  # what the others read
        detector = replace(detector, output_messages=("kd", *detector.output_messages))
    student = replace(_bev_student(detector, graph), required=detector.build_only)
    if detector.build_only:
        return Graph((student,), namespace=graph.namespace)
    pictures = (_visualizer(detector, graph),) if graph.visualizer else ()
    learning = continual_nodes(teacher, recorder, detector, graph) if graph.continual else ()
    return Graph((student, *pictures, *learning), _rviz(graph), graph.namespace)


def continual_nodes(
    teacher: TeacherOptions, recorder: RecorderOptions, detector: DetectorOptions, graph: GraphOptions
) -> tuple[NodeSpec, NodeSpec]:
    """Recorder and LiDAR teacher next to a detector, which goes on without them.

    Raises ConfigError if the teacher's file or the recording's folder is not given.
    """
    for value, name, what in (
        (teacher.model, "teacher", "the LiDAR teacher's file"),
        (recorder.folder, "recording", "the folder that takes the kept frames"),
    ):
        if value is None:
            raise ConfigError(f"continual needs {name}, {what}; give it, or leave continual out")
    nodes = (_recorder(recorder, teacher, detector, graph), lidar_teacher_node(teacher, detector, graph))
    return tuple(replace(node, dispensable=True) for node in nodes)


def replay_evaluate_graph(
    replay: ReplayOptions, detector: DetectorOptions, evaluator: EvaluatorOptions, graph: GraphOptions
) -> Graph:
    """A bag through the detector: results, statuses and detections in `evaluator.out`, with its data set the metric.

    In lockstep replay waits until every Sample is processed (for accuracy); otherwise the bag plays in real time (for
    latency and drops). Each node waits for those that listen to it.
    """
    listeners = 1 + graph.visualizer
    detector = replace(
        detector,
        transport="compressed",  # what bags hold
        reliable_input=replay.lockstep,
        sync_deadline_ms=LOCKSTEP_DEADLINE_MS if replay.lockstep else detector.sync_deadline_ms,
        wait_for_subscribers=(f"objects={listeners}", f"status={1 + replay.lockstep}"),
    )
    cameras = camera_topics(detector.camera_names, detector.camera_topics, detector.image_topic)
    inputs = [topic for image, info in cameras for topic in (f"{image}/compressed", info)]
    waits = (
        *(f"{topic}={listeners}" for topic in inputs),
        f"{SAMPLE}=1",
        *(f"{topic}={1 + listeners}" for topic in (TF_TOPIC, TF_STATIC_TOPIC)),
    )
    replay = replace(replay, wait_for_subscribers=waits, finished_service="evaluator/evaluate")
    evaluator = replace(evaluator, classes=evaluator.classes or detector.model)
    pictures = (_visualizer(detector, graph),) if graph.visualizer else ()
    nodes = (_evaluator(evaluator, graph), *pictures, _bev_student(detector, graph), replay_node(replay, graph))
    return Graph(nodes, _rviz(graph), graph.namespace)


def lidar_teacher_node(teacher: TeacherOptions, detector: DetectorOptions, graph: GraphOptions) -> NodeSpec:
    """The LiDAR teacher next to a detector, whose frames, odometry and folder of built engines it shares."""
    shared = {name: parameters_of(detector, SHARED)[name] for name in SHARED}
    parameters = {**shared, **parameters_of(teacher, TEACHER), "use_sim_time": graph.use_sim_time}
    remappings = (
        ("~/input/points", graph.points_topic),
        ("~/input/odometry", graph.odometry_topic),
        *_tf_remappings(graph),
    )
    return NodeSpec("lidar_teacher", "lidar_teacher", parameters, _parameter_files("lidar_teacher", graph), remappings)


def replay_node(replay: ReplayOptions, graph: GraphOptions) -> NodeSpec:
    """The node that plays a bag; the graph ends with it."""
    remappings = (("~/input/status", f"{replay.detector}/output/status"), *_tf_remappings(graph))
    parameters = parameters_of(replay, REPLAY)
    return NodeSpec("replay", "replay", parameters, _parameter_files("replay", graph), remappings, required=True)


def _bev_student(detector: DetectorOptions, graph: GraphOptions) -> NodeSpec:
    parameters = {**parameters_of(detector, DETECTOR), "use_sim_time": graph.use_sim_time}
    remappings = (("~/input/odometry", graph.odometry_topic), *_tf_remappings(graph))
    return NodeSpec("bev_student", "bev_student", parameters, _parameter_files("bev_student", graph), remappings)


def _recorder(
    recorder: RecorderOptions, teacher: TeacherOptions, detector: DetectorOptions, graph: GraphOptions
) -> NodeSpec:
    shared = {option.name for option in options_of(DetectorOptions)} & {*RIG, *COMMON, "transport"}
    own = {option.name for option in options_of(RecorderOptions)}
    recorder = replace(
        recorder,
        **{name: getattr(detector, name) for name in shared & own},
        lidar_topics=teacher.lidar_topics,
        classes=recorder.classes or detector.model,
        teacher_classes=recorder.teacher_classes or teacher.model,
    )
    parameters = {**parameters_of(recorder, RECORDER), "use_sim_time": graph.use_sim_time}
    remappings = (
        ("~/input/points", graph.points_topic),
        ("~/input/odometry", graph.odometry_topic),
        ("~/input/student/objects", OBJECTS),
        ("~/input/student/status", STATUS),
        ("~/input/teacher/objects", "lidar_teacher/output/objects"),
        ("~/input/teacher/status", "lidar_teacher/output/status"),
        *_tf_remappings(graph),
    )
    name = "hard_sample_recorder"
    return NodeSpec(name, name, parameters, _parameter_files(name, graph), remappings)


def _evaluator(evaluator: EvaluatorOptions, graph: GraphOptions) -> NodeSpec:
    parameters = {**parameters_of(evaluator, EVALUATOR), "use_sim_time": graph.use_sim_time}
    remappings = (
        ("~/input/objects", OBJECTS),
        ("~/input/status", STATUS),
        ("~/input/sample", SAMPLE),
        *_tf_remappings(graph),
    )
    return NodeSpec("evaluator", "evaluator", parameters, _parameter_files("evaluator", graph), remappings)


def _visualizer(detector: DetectorOptions, graph: GraphOptions) -> NodeSpec:
    options = VisualizerOptions(
        camera_names=detector.camera_names,
        camera_topics=detector.camera_topics,
        image_topic=detector.image_topic,
        transport=detector.transport,
        base_frame=detector.base_frame,
        classes=detector.model,
    )
    parameters = {**parameters_of(options, VISUALIZER), "use_sim_time": graph.use_sim_time}
    remappings = (
        ("~/input/points", graph.points_topic),
        ("~/input/objects", OBJECTS),
        *_tf_remappings(graph),
    )
    return NodeSpec("visualizer", "visualizer", parameters, _parameter_files("visualizer", graph), remappings)


def _tf_remappings(graph: GraphOptions) -> tuple[tuple[str, str], ...]:
    """Where tf is, if not where nodes look for it."""
    if graph.tf_topic == TF_TOPIC:
        return ()
    return (TF_TOPIC, graph.tf_topic), (TF_STATIC_TOPIC, f"{graph.tf_topic}_static")


def _parameter_files(executable: str, graph: GraphOptions) -> tuple[Path, ...]:
    """The shipped file, then the robot's own."""
    own = () if graph.parameter_file is None else (graph.parameter_file,)
    return resource(f"config/nodes/{executable}.yaml"), *own


def _rviz(graph: GraphOptions) -> RvizSpec | None:
    if not graph.rviz:
        return None
    config = resource("config/rviz/bev_student.rviz")
    moved = {
        GraphOptions().points_topic: graph.points_topic,
        TF_TOPIC: graph.tf_topic,
        TF_STATIC_TOPIC: f"{graph.tf_topic}_static",
    }
    shown = re.findall(r"^ +Value: /(\S+)$", config.read_text(), re.MULTILINE)
    names = {topic: moved.get(topic, topic) for topic in (*shown, *moved)}
    remappings = {f"/{topic}": name for topic, name in names.items() if graph.namespace or name != topic}
    return RvizSpec(config, graph.use_sim_time, tuple(remappings.items()))
