"""What runs together, described once: nodes, parameters, remappings and how they wait for each other.

The standard launch files (`bringup.ros_launch`) and the plain-process bring-up (`bringup.processes`) both start
exactly what stands here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_perception.datasets.nuscenes import CAMERA_CHANNELS, LIDAR
from kd_perception.resources import resource

Value = bool | int | float | str | tuple[str, ...]

LOCKSTEP_DEADLINE_MS = 5000.0  # evaluation must not depend on how busy the machine is
OBJECTS = "/bev_student/output/objects"
STATUS = "/bev_student/output/status"


@dataclass(frozen=True)
class NodeSpec:
    """One lifecycle node as a process of its own.

    executable: console script and package of `kd_perception.nodes`; parameters override those of `parameter_file`;
    remappings: (from, to) topic or service names; required: the whole graph ends when this process does.
    """

    executable: str
    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    parameter_file: Path | None = None
    remappings: tuple[tuple[str, str], ...] = ()
    required: bool = False


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of their configuration and activation; `rviz`: a display configuration to open, or None."""

    nodes: tuple[NodeSpec, ...]
    rviz: Path | None = None

    @property
    def required(self) -> NodeSpec | None:
        """The node whose end is the graph's end; None runs until interrupted."""
        return next((node for node in self.nodes if node.required), None)


def bev_student_graph(
    model: Path,
    engine: str = "auto",
    cameras: Sequence[str] = CAMERA_CHANNELS,
    transport: str = "compressed",
    score_threshold: float = 0.1,
    threads: int = 0,
    use_sim_time: bool = False,
    build_only: bool = False,
    visualize: bool = False,
    rviz: bool = False,
) -> Graph:
    """The detector on live topics /<camera>/image[/compressed], /<camera>/camera_info, /odom, tf; pictures if wanted.

    With `build_only` the engine is opened (and built and cached where the engine does that) and the graph ends.
    """
    student = _bev_student(
        model,
        engine,
        cameras,
        transport,
        score_threshold,
        threads,
        use_sim_time,
        {"build_only": build_only},
        required=build_only,
    )
    nodes = (student, _visualizer(cameras, transport, use_sim_time)) if visualize and not build_only else (student,)
    return Graph(nodes, resource("config/rviz/bev_student.rviz") if rviz else None)


def replay_evaluate_graph(
    bag: Path,
    model: Path,
    out: Path,
    engine: str = "auto",
    cameras: Sequence[str] = CAMERA_CHANNELS,
    dataroot: Path | None = None,
    version: str = "",
    lockstep: bool = True,
    rate: float = 1.0,
    loop: bool = False,
    score_threshold: float = 0.1,
    threads: int = 0,
    use_sim_time: bool = True,
    visualize: bool = False,
    rviz: bool = False,
) -> Graph:
    """A bag through the detector into `out`: results_nusc.json, status.jsonl, detections/, with `dataroot` the metric.

    `lockstep` waits for every Sample's answer (for accuracy); otherwise the bag plays in real time at `rate` (for
    latency and drops).
    """
    student_waits = {
        "wait_for_subscribers": (f"objects={1 + visualize}", f"status={1 + lockstep}"),
        "reliable_input": lockstep,
    }
    if lockstep:
        student_waits["sync_deadline_ms"] = LOCKSTEP_DEADLINE_MS
    student = _bev_student(model, engine, cameras, "compressed", score_threshold, threads, use_sim_time, student_waits)
    evaluator = NodeSpec(
        "evaluator", "evaluator",
        {"out": str(out), "dataroot": str(dataroot or ""), "version": version, "use_sim_time": use_sim_time},
        _defaults("evaluator"),
        (("~/input/objects", OBJECTS), ("~/input/status", STATUS), ("~/input/sample", "/sample")),
    )  # fmt: skip
    topics = [f"/{camera}/{kind}={1 + visualize}" for camera in cameras for kind in ("image/compressed", "camera_info")]
    waits = (*topics, "/sample=1", f"/tf={2 + visualize}", f"/tf_static={2 + visualize}")
    replay = replay_node(bag, lockstep, rate, loop, waits, {"finished_service": "/evaluator/evaluate"})
    listeners = [evaluator, *([_visualizer(cameras, "compressed", use_sim_time)] if visualize else [])]
    return Graph((*listeners, student, replay), resource("config/rviz/bev_student.rviz") if rviz else None)


def replay_node(
    bag: Path,
    lockstep: bool = False,
    rate: float = 1.0,
    loop: bool = False,
    wait_for_subscribers: Sequence[str] = (),
    extra: Mapping[str, Value] | None = None,
) -> NodeSpec:
    """The node that plays a bag; the graph ends with it. `wait_for_subscribers`: entries topic=count."""
    parameters = {
        "bag": str(bag), "lockstep": lockstep, "rate": rate, "loop": loop,
        "wait_for_subscribers": tuple(wait_for_subscribers), **(extra or {}),
    }  # fmt: skip
    remappings = (("~/input/status", STATUS),)
    return NodeSpec("replay", "replay", parameters, _defaults("replay"), remappings, required=True)


def _defaults(executable: str) -> Path:
    return resource(f"config/nodes/{executable}.yaml")


def _bev_student(
    model: Path, engine: str, cameras: Sequence[str], transport: str, score_threshold: float, threads: int,
    use_sim_time: bool, extra: Mapping[str, Value], required: bool = False,
) -> NodeSpec:  # fmt: skip
    parameters = {
        "model": str(model), "engine": engine, "camera_names": tuple(cameras), "transport": transport,
        "score_threshold": score_threshold, "threads": threads, "use_sim_time": use_sim_time, **extra,
    }  # fmt: skip
    remappings = (*_camera_remappings(cameras, transport), ("~/input/odometry", "/odom"))
    return NodeSpec("bev_student", "bev_student", parameters, _defaults("bev_student"), remappings, required)


def _visualizer(cameras: Sequence[str], transport: str, use_sim_time: bool) -> NodeSpec:
    parameters = {"camera_names": tuple(cameras), "transport": transport, "use_sim_time": use_sim_time}
    remappings = (
        *_camera_remappings(cameras, transport),
        ("~/input/points", f"/{LIDAR}/points"),
        ("~/input/objects", OBJECTS),
    )
    return NodeSpec("visualizer", "visualizer", parameters, _defaults("visualizer"), remappings)


def _camera_remappings(cameras: Sequence[str], transport: str) -> tuple[tuple[str, str], ...]:
    kinds = ("image/compressed" if transport == "compressed" else "image", "camera_info")
    return tuple(
        (f"~/input/camera{i}/{kind}", f"/{camera}/{kind}") for i, camera in enumerate(cameras) for kind in kinds
    )
