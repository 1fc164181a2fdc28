"""Replay, detector and evaluator as processes: frames accounted for, latched tf, cut bags, loops, what is missing."""

import json
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from support.domains import free_domain
from support.edit_bag import Change, Message, edit_bag
from support.fake_student import TEMPORAL_SPEC, write_fake_student
from support.foreign_bags import McapStyle, write_mcap
from support.graph import Peer
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.rviz_config import DISPLAYS, assert_published
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from kd_msgs.msg import FrameStatus, Sample
from kd_perception.bags.messages import BAG
from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.bringup.graph import Graph, NodeSpec, replay_evaluate_graph, replay_node
from kd_perception.bringup.processes import GraphError, running
from kd_perception.datasets.nuscenes import open_nuscenes, scene_samples
from kd_perception.datasets.rigs import ANCHOR
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw, quaternion_of
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.ros.geometry import from_pose
from kd_perception.ros.images import from_image
from kd_perception.ros.qos import EVERY_RESULT, TF_STATIC
from kd_perception.ros.stamps import to_nanoseconds

pytestmark = pytest.mark.ros
SAMPLES = 4


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A painted data set with frames between keyframes, one scene of it as a bag, and the student that reads it."""
    folder = tmp_path_factory.mktemp("world")
    dataroot = write_dataset(folder / "data", samples=SAMPLES, sweeps=True)
    write_scene(open_nuscenes(dataroot, VERSION), SCENES[0], folder / "bag")
    return folder, dataroot, folder / "bag", write_fake_student(folder / "fake.onnx")


def statuses(out):
    return [json.loads(line) for line in (out / "status.jsonl").read_text().splitlines()]


def anchor_images(bag):
    return next(topic.count for topic in BagReader(bag).topics if topic.name == f"/{ANCHOR}/image/compressed")


def sample_stamps(bag):
    """Sample token -> stamp of its anchor image (ns)."""
    samples = [deserialize_message(cdr, Sample) for topic, _, cdr in BagReader(bag).messages() if topic == "/sample"]
    return {sample.sample_token: to_nanoseconds(sample.header.stamp) for sample in samples}


def replay_only(bag, **options):
    """A graph of the replay node alone."""
    return Graph((replay_node(ReplayOptions(bag=bag, **options), GraphOptions()),))


def through_detector(bag, student, out, visualize=False, **replay):
    """A graph that plays a bag through the detector into the evaluator; `replay`: options of replay."""
    return replay_evaluate_graph(
        ReplayOptions(bag=bag, **replay),
        DetectorOptions(model=student, engine="onnxruntime", threads=1),
        EvaluatorOptions(out=out, output_messages=("kd", "vision", "autoware")),
        GraphOptions(use_sim_time=True, visualize=visualize),
    )


def odometry_of_another_frame_and_a_blind_keyframe(blind_ns: int) -> Change:
    """Odometry of base_footprint, which only a static link and no tf places; and images of one time that none reads."""
    base_from_footprint = make_transform(quaternion_from_yaw(0.4), [0.3, 0.1, -0.5])

    def change(topic: str, message: Message) -> tuple[str, Message] | None:
        if topic == "/tf_static":  # map -> odom goes, so that odom is not in tf
            message.transforms = [entry for entry in message.transforms if entry.child_frame_id != "odom"]
            message.transforms.append(BAG.transform("base_link", "base_footprint", 0, base_from_footprint))
        elif topic == "/tf":
            for entry in message.transforms:
                entry.header.frame_id = "map"  # the evaluator's way to the global frame
        elif topic == "/odom":
            message.child_frame_id = "base_footprint"
            pose = from_pose(message.pose.pose) @ base_from_footprint
            message.pose.pose = BAG.pose(pose[:3, 3], quaternion_of(pose))
        elif topic.endswith("/compressed") and abs(to_nanoseconds(message.header.stamp) - blind_ns) < 100_000_000:
            message.format = "h264"
        return topic, message

    return change


def test_lockstep_answers_every_keyframe_and_accounts_for_every_anchor_image(world, tmp_path):
    """With memory by odometry of another frame; the keyframe of which no camera was seen is an empty sample."""
    _, dataroot, bag, _ = world
    tokens = scene_samples(open_nuscenes(dataroot, VERSION), SCENES[0])
    bag = edit_bag(bag, tmp_path / "bag", odometry_of_another_frame_and_a_blind_keyframe(sample_stamps(bag)[tokens[2]]))
    student = write_fake_student(tmp_path / "remembers.onnx", TEMPORAL_SPEC)
    graph = through_detector(bag, student, tmp_path / "out", lockstep=True)
    with running(graph, domain_id=free_domain()) as processes:
        processes.wait(90.0)
    results = json.loads((tmp_path / "out" / "results_nusc.json").read_text())["results"]
    assert sorted(results) == sorted(tokens) and [bool(results[token]) for token in tokens] == [True, True, False, True]
    rows = statuses(tmp_path / "out")
    assert len(rows) == anchor_images(bag) > SAMPLES  # frames between keyframes too, answered or dropped
    outcomes = [row["outcome"] for row in rows]
    assert set(outcomes) <= {"answered", "dropped", "blind"} and outcomes.count("blind") == 1
    assert outcomes.count("answered") >= SAMPLES - 1
    assert any(row["memory_state"] == "used" for row in rows)  # which takes poses
    recorded = BagReader(tmp_path / "out" / "detections")
    counts = {topic.name: topic.count for topic in recorded.topics}
    assert counts["/sample"] == SAMPLES and counts["/status"] == len(rows)
    for topic in ("/objects", "/vision/objects", "/autoware/objects"):
        assert counts[topic] == outcomes.count("answered")


def test_real_time_names_the_samples_without_detections(world, tmp_path):
    """Frames may be dropped when the machine is busy: the result file still has every sample, empty where dropped."""
    _, _, bag, student = world
    graph = through_detector(bag, student, tmp_path / "out", rate=2.0)
    with running(graph, domain_id=free_domain()) as processes:
        processes.wait(90.0)
    rows = statuses(tmp_path / "out")
    answered = {row["stamp_ns"] for row in rows if row["outcome"] == "answered"}
    samples = {stamp_ns: token for token, stamp_ns in sample_stamps(bag).items()}
    results = json.loads((tmp_path / "out" / "results_nusc.json").read_text())["results"]
    assert set(results) == set(samples.values())
    assert {token for token, found in results.items() if found} == {samples[stamp] for stamp in answered & set(samples)}


def test_a_truncated_bag_is_played_as_far_as_it_goes(world, tmp_path):
    _, _, bag, student = world
    filler = BAG.compressed_image(0, "", np.random.default_rng(0).bytes(100_000), "jpeg")
    reader = BagReader(bag)
    types = {topic.name: topic.type_name for topic in reader.topics}
    with BagWriter(tmp_path / "large") as large:  # a bag of several chunks: what a cut chunk holds is lost
        for topic, stamp_ns, cdr in reader.messages():
            large.write_cdr(topic, types[topic], cdr, stamp_ns)
            large.write("/filler", filler, stamp_ns)
    bag, cut = tmp_path / "large", tmp_path / "cut.mcap"
    whole = next(bag.glob("*.mcap")).read_bytes()
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    lines = []
    graph = through_detector(cut, student, tmp_path / "out", lockstep=True)
    with running(graph, domain_id=free_domain(), echo=lines.append) as processes:
        processes.wait(90.0)
    assert any("damaged or was not closed" in line for line in lines)
    results = json.loads((tmp_path / "out" / "results_nusc.json").read_text())["results"]
    assert 0 < len(results) < SAMPLES and all(results.values())


def test_lockstep_names_the_sample_that_got_no_answer(world):
    _, dataroot, bag, _ = world
    token = scene_samples(open_nuscenes(dataroot, VERSION), SCENES[0])[0]
    domain = free_domain()

    def active(request, response):
        response.current_state.id = State.PRIMARY_STATE_ACTIVE
        return response

    with Peer(domain) as peer:
        peer.node.create_service(GetState, "/deaf/get_state", active)  # a detector that never answers
        with running(
            replay_only(bag, lockstep=True, detector="/deaf", answer_timeout_s=0.5), domain_id=domain
        ) as processes:
            with pytest.raises(GraphError, match=f"replay ended with status 1: sample {token} .* got no FrameStatus"):
                peer.until(processes.finished)


def test_lockstep_without_a_detector_does_not_start(world):
    _, _, bag, _ = world
    graph = replay_only(bag, lockstep=True, subscriber_timeout_s=0.5)
    with running(graph, domain_id=free_domain()) as processes:
        with pytest.raises(GraphError, match="detector /bev_student, which lockstep waits for, is absent"):
            processes.wait(30.0)


def test_replay_waits_for_its_listeners_and_gives_up_with_their_names(world):
    _, _, bag, _ = world
    graph = replay_only(bag, wait_for_subscribers=("/sample=1",), subscriber_timeout_s=0.5)
    with running(graph, domain_id=free_domain()) as processes:
        with pytest.raises(GraphError, match=r"subscribers of /sample \(0 of 1\) are missing"):
            processes.wait(30.0)


def test_replay_publishes_bytes_untouched_clock_and_latched_transforms(world):
    _, _, bag, _ = world
    recorded = [(topic, cdr) for topic, _, cdr in BagReader(bag).messages()]
    domain = free_domain()
    with Peer(domain) as peer:
        topic = f"/{ANCHOR}/image/compressed"
        images = peer.listen(CompressedImage, topic, EVERY_RESULT)
        clock = peer.listen(Clock, "/clock", EVERY_RESULT)
        graph = replay_only(bag, rate=4.0, loop=True, wait_for_subscribers=(f"{topic}=1",))
        with running(graph, domain_id=domain):
            expected = [deserialize_message(cdr, CompressedImage) for name, cdr in recorded if name == topic]
            peer.until(lambda: len(images) > len(expected))
            static = peer.listen(TFMessage, "/tf_static", TF_STATIC)  # a late listener
            peer.until(lambda: len(static) >= sum(name == "/tf_static" for name, _ in recorded))
        first_round = images[: len(expected)]
        assert [bytes(m.data) for m in first_round] == [bytes(m.data) for m in expected]
        assert [m.header for m in first_round] == [m.header for m in expected]
        assert images[len(expected)].header == expected[0].header  # and again
        stamps = [to_nanoseconds(m.clock) for m in clock]
        turns = [i for i in range(1, len(stamps)) if stamps[i] < stamps[i - 1]]
        assert len(turns) == 1 and len(stamps) > 50


def test_a_loop_pauses_before_time_goes_back(world):
    """So that the last frame is answered, and no message of the new round meets the old clock."""
    _, _, bag, _ = world
    topic = f"/{ANCHOR}/image/compressed"
    domain, came_s = free_domain(), []
    with Peer(domain) as peer:
        peer.node.create_subscription(CompressedImage, topic, lambda _: came_s.append(time.monotonic()), EVERY_RESULT)
        graph = replay_only(bag, rate=4.0, loop=True, loop_gap_s=6.0, wait_for_subscribers=(f"{topic}=1",))
        with running(graph, domain_id=domain):
            count = sum(name == topic for name, _, _ in BagReader(bag).messages())
            peer.until(lambda: len(came_s) > count)
    assert came_s[count] - came_s[count - 1] >= 1.4


def test_a_loop_resets_the_detector_with_a_reason(world, tmp_path):
    _, _, bag, student = world
    domain = free_domain()
    graph = through_detector(bag, student, tmp_path / "out", loop=True, rate=4.0)
    with Peer(domain) as peer:
        found = peer.listen(FrameStatus, "/bev_student/output/status", EVERY_RESULT)
        with running(graph, domain_id=domain):
            peer.until(lambda: any("went back" in status.reset_reason for status in found), 60.0)
            count = len(found)
            peer.until(lambda: any(status.outcome == FrameStatus.ANSWERED for status in found[count:]), 60.0)


@pytest.mark.parametrize("lockstep", [False, True])
def test_a_loop_of_one_keyframe_is_processed_in_every_round(world, tmp_path, lockstep):
    """All its images are as old as the clock of the next round: the detector must not take them for late ones."""
    _, _, bag, student = world
    reader = BagReader(bag)
    types = {topic.name: topic.type_name for topic in reader.topics}
    with BagWriter(tmp_path / "one") as one:
        for topic, stamp_ns, cdr in reader.messages():
            one.write_cdr(topic, types[topic], cdr, stamp_ns)
            if topic == "/sample":
                break
    domain = free_domain()
    graph = through_detector(tmp_path / "one", student, tmp_path / "out", loop=True, lockstep=lockstep)
    with Peer(domain) as peer:
        found = peer.listen(FrameStatus, "/bev_student/output/status", EVERY_RESULT)
        with running(graph, domain_id=domain):
            peer.until(lambda: len(found) >= 4, 60.0)
    assert all(status.outcome == FrameStatus.ANSWERED and not status.missing_cameras for status in found)
    assert len({to_nanoseconds(status.header.stamp) for status in found}) == 1


@pytest.mark.parametrize(
    ("style", "data", "reason"),
    [
        (McapStyle(type_name="absent_msgs/msg/Blob"), b"\0\1\0\0", "'absent_msgs/msg/Blob' is not installed"),
        (McapStyle(encoding="json"), b"{}", "encoded as 'json', not as CDR"),
        (McapStyle(), b"{}", "2 of 2 messages on /blob are not CDR"),
        (McapStyle(type_name=""), b"\0\1\0\0", "'' is no ROS 2 message type"),
    ],
)
def test_playing_nothing_is_an_error_in_one_sentence(tmp_path, style, data, reason):
    file = write_mcap(tmp_path / "x.mcap", [("/blob", 1, data), ("/blob", 2, data)], style)
    environment = {**os.environ, "ROS_DOMAIN_ID": str(free_domain()), "COLUMNS": "500"}
    command = [sys.executable, "-m", "kd_perception.cli", "replay", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1 and "nothing " in output and reason in output
    assert "100%" not in output and "Traceback" not in output


def test_evaluating_nothing_is_an_error_and_leaves_nothing(tmp_path):
    domain = free_domain()
    graph = Graph(
        (NodeSpec("evaluator", "evaluator", {"out": str(tmp_path / "out"), "quiet_s": 0.0, "settle_s": 0.1}),)
    )
    with Peer(domain) as peer:
        client = peer.node.create_client(Trigger, "/evaluator/evaluate")
        with running(graph, domain_id=domain):
            peer.until(client.service_is_ready)
            answer = client.call_async(Trigger.Request())
            peer.until(answer.done)
            assert not answer.result().success and "no Sample message came" in answer.result().message
    assert not list((tmp_path / "out").glob("*"))


def _active(diagnostics: list[DiagnosticArray]) -> list[DiagnosticStatus]:
    """What the visualizer reported while it was active."""
    mine = [message.status[0] for message in diagnostics if message.status[0].name == "visualizer: health"]
    return [status for status in mine if not status.message.startswith(("inactive", "closed"))]


def test_the_visualizer_draws_boxes_points_and_overlays(world, tmp_path):
    _, _, bag, student = world
    domain = free_domain()
    # Round and round: this listener may be discovered late, and images arrive best effort.
    graph = through_detector(bag, student, tmp_path / "out", visualize=True, loop=True)
    with Peer(domain) as peer:
        bev = peer.listen(Image, "/visualizer/output/bev/image", EVERY_RESULT)
        overlay = peer.listen(Image, "/visualizer/output/camera0/image", EVERY_RESULT)
        markers = peer.listen(MarkerArray, "/visualizer/output/markers", EVERY_RESULT)
        diagnostics = peer.listen(DiagnosticArray, "/diagnostics", EVERY_RESULT)
        with running(graph, domain_id=domain):
            peer.until(lambda: bev and overlay and markers and _active(diagnostics), 90.0)
            for display in (display for display in DISPLAYS if "Topic" in display):
                assert_published(peer, display)
    picture = from_image(bev[-1])
    assert picture.shape == (800, 800, 3) and len(colors(picture)) > 20  # rings, points, boxes
    assert from_image(overlay[-1]).shape[1] == 640 and math.isclose(
        from_image(overlay[-1]).shape[0], 640 * 256 / 704, abs_tol=1
    )
    assert {marker.ns for marker in markers[-1].markers} >= {"boxes", "labels"}
    active = _active(diagnostics)
    assert all(status.level == status.OK for status in active), [status.message for status in active]


def colors(picture):
    """The colours of a picture."""
    return {tuple(color) for color in picture.reshape(-1, 3).tolist()}
