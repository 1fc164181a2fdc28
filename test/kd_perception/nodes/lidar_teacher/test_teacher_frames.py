"""Clouds of every kind to boxes: point formats, a robot that drives, transforms and odometry that are missing."""

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2, PointField
from support.fake_student import HEIGHT
from support.fake_teacher import bright_cluster, write_fake_teacher
from support.point_messages import MOUNTING, XYZI, in_lidar
from support.point_messages import message as message_at

from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.nodes.lidar_teacher.detection import CloudFrames, TeacherFrames
from kd_perception.nodes.lidar_teacher.kept_clouds import KeptCloud, KeptClouds
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.lidar_points import lidar_points
from kd_perception.ros.stamps import to_time
from kd_perception.ros.tf_buffer import TransformBuffer
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.lidar_pipeline import LidarPipeline
from kd_perception.teacher.spec import open_teacher

S = 1_000_000_000
T0 = 1000 * S


def message(points: np.ndarray, stamp_ns: int = T0, fields=XYZI, **layout) -> PointCloud2:
    return message_at(points, stamp_ns, fields, **layout)


class Bench:
    """A teacher without ROS around it: transforms, clouds, frames."""

    def __init__(self, folder, topics=("top",), full_intensity: float = 255.0) -> None:
        self.teacher = open_teacher(write_fake_teacher(folder / "teacher.onnx"))
        self.transforms = TransformBuffer()
        self.transforms.set_transform("base_link", "lidar", 0, MOUNTING, static=True)
        self.clouds = KeptClouds(topics, self.teacher.spec.points)
        poses = PoseSource(self.transforms, "odom", "base_link")
        frames = CloudFrames("base_link", full_intensity)
        pipeline = LidarPipeline(self.teacher, "onnxruntime")
        self.frames = TeacherFrames(pipeline, self.clouds, self.transforms, poses, frames, deadline_s=0.0)

    def drive(self, odom_from_base, *at_ns: int) -> None:
        for stamp_ns in at_ns:
            self.transforms.set_transform("odom", "base_link", stamp_ns, odom_from_base(stamp_ns))

    def keep(self, cloud: PointCloud2, stamp_ns: int = T0, lidar: int = 0) -> KeptCloud:
        kept = KeptCloud(lidar, stamp_ns, cloud.header.frame_id, serialize_message(cloud), 0.0)
        assert self.clouds.add(kept) == ("", "")
        return kept

    def detect(self, cloud: KeptCloud) -> FrameRecord:
        record = FrameRecord(cloud.stamp_ns, messages=(cloud,))
        self.frames.prepare(record)
        self.frames.infer(record)
        return record


@pytest.fixture
def bench(tmp_path) -> Bench:
    made = Bench(tmp_path)
    made.drive(lambda _: np.eye(4), T0 - S, T0 + S)
    return made


FORMATS = {
    "nuScenes": (XYZI + (("ring", "u2"),), {}, 255.0),
    "velodyne with time": (XYZI + (("ring", "u2"), ("time", "f4")), {"pad": 6}, 255.0),
    "uint8 intensity": ((*XYZI[:3], ("intensity", "u1")), {}, 255.0),
    "uint16 reflectivity": ((*XYZI[:3], ("t", "u4"), ("reflectivity", "u2")), {}, 65535.0),
    "doubles, big endian": (tuple((name, "f8") for name, _ in XYZI), {"big": True}, 255.0),
    "another order": ((XYZI[3], XYZI[2], XYZI[0], XYZI[1], ("timestamp", "f8")), {}, 100.0),
    "intensity to one": (XYZI, {}, 1.0),
}


@pytest.mark.parametrize("name", FORMATS)
def test_clouds_of_every_format_give_the_same_box(tmp_path, name):
    fields, layout, brightest = FORMATS[name]
    bench = Bench(tmp_path, full_intensity=brightest)
    bench.drive(lambda _: np.eye(4), T0 - S, T0 + S)
    lost = np.full((3, 4), np.nan, np.float32)  # lost returns
    if any(kind[0] != "f" for kind in dict(fields[:4]).values()):
        lost = lost[:0]
    points = np.concatenate([in_lidar(bright_cluster((12.5, 3.5)), brightest), lost])
    record = bench.detect(bench.keep(message(points, fields=fields, **layout)))
    assert len(record.boxes) == 1 and not record.blind and not any(record.problems.values()), record.problems
    np.testing.assert_allclose(record.boxes.center[0], [12.5, 3.5, HEIGHT], atol=1e-4)
    assert record.boxes.score[0] == pytest.approx(0.8, abs=0.03) and record.model == bench.teacher.model_id


def test_what_a_moving_robot_saw_before_stands_where_it_is_now(bench):
    """The car is bright in older sweeps only: it is found at one place, which is that in odom."""

    def odom_from_base(stamp_ns: int) -> np.ndarray:
        age_s = (T0 - stamp_ns) / S
        return make_transform(quaternion_from_yaw(0.3 - 0.5 * age_s), np.array([4.0 - 9.0 * age_s, -2.0, 0.0]))

    stamps = [T0 - S // 5, T0 - S // 10, T0]
    bench.drive(odom_from_base, *stamps)
    in_odom = bright_cluster((0.5, 0.5))
    in_odom[:, :3] = apply(odom_from_base(T0), bright_cluster((12.5, 3.5))[:, :3])
    kept = []
    for stamp_ns in stamps:
        seen = in_odom.copy()
        seen[:, :3] = apply(invert(odom_from_base(stamp_ns)), in_odom[:, :3])
        seen[:, 3] *= stamp_ns != T0
        kept.append(bench.keep(message(in_lidar(seen), stamp_ns), stamp_ns))
    record = bench.detect(kept[-1])
    assert len(record.boxes) == 1
    np.testing.assert_allclose(record.boxes.center[0], [12.5, 3.5, HEIGHT], atol=1e-4)
    ages = np.unique(np.round(record.inputs["points"][:, 4] * 0.25, 3))
    np.testing.assert_allclose(ages, [0.0, 0.1, 0.2], atol=1e-3)


def test_without_odometry_only_the_frames_own_cloud_counts(tmp_path):
    bench = Bench(tmp_path)
    bench.keep(message(in_lidar(bright_cluster((12.5, 3.5))), T0 - S // 10), T0 - S // 10)
    record = bench.detect(bench.keep(message(in_lidar(bright_cluster((-8.5, 3.5))))))
    np.testing.assert_allclose(record.boxes.center[:, :2], [[-8.5, 3.5]], atol=1e-4)
    assert "no older sweeps: " in record.problems["frames_without_pose"][0]


def test_a_second_lidar_joins_and_its_absence_is_said(tmp_path):
    bench = Bench(tmp_path, topics=("top", "side"))
    bench.drive(lambda _: np.eye(4), T0 - S, T0 + S)
    alone = bench.detect(bench.keep(message(in_lidar(bright_cluster((12.5, 3.5))))))
    assert alone.missing == ("side",) and alone.ages_ns == (0, None)
    bench.keep(message(in_lidar(bright_cluster((-8.5, 3.5))), T0 + S // 10), T0 + S // 10, lidar=1)
    record = bench.detect(bench.keep(message(in_lidar(bright_cluster((12.5, 3.5))), T0 + S // 10), T0 + S // 10))
    assert sorted(record.boxes.center[:, 0].round(3)) == [-8.5, 12.5]
    assert not record.missing and record.ages_ns == (0, 0)


@pytest.mark.parametrize("points", [np.zeros((0, 4)), np.full((9, 4), np.nan), np.full((9, 4), 900.0)])
def test_a_cloud_without_points_is_blind_not_a_free_road(bench, points):
    record = bench.detect(bench.keep(message(points.astype(np.float32))))
    assert record.blind and not len(record.boxes) and "no point lies within 32 m of the robot" in record.reason


def test_a_broken_older_sweep_is_left_out_and_a_broken_frame_is_refused(bench):
    short = message(in_lidar(bright_cluster((5.5, 5.5))), T0 - S // 10)
    short.data = short.data[:-8]
    bench.keep(short, T0 - S // 10)
    record = bench.detect(bench.keep(message(in_lidar(bright_cluster((12.5, 3.5))))))
    assert len(record.boxes) == 1 and "0.10 s old is left out: cloud in frame 'lidar' is short" in str(record.problems)
    short.header.stamp = to_time(T0 + S // 10)
    with pytest.raises(DataError, match="is short"):
        bench.detect(bench.keep(short, T0 + S // 10))


def test_a_lidar_that_tf_does_not_know_is_refused(bench):
    cloud = bench.keep(message(in_lidar(bright_cluster((12.5, 3.5)))))
    for frame, why in (("roof", "roof"), ("", "no frame_id")):
        with pytest.raises(CalibrationError, match=why):
            bench.detect(KeptCloud(**{**vars(cloud), "frame_id": frame, "read": None}))


@pytest.mark.parametrize(
    ("fields", "points", "kind"),
    [
        (XYZI[:3], in_lidar(bright_cluster((5.5, 5.5))), "clouds_without_intensity"),
        (XYZI, in_lidar(bright_cluster((5.5, 5.5)), 1.0), "intensity_scale"),
        (XYZI, in_lidar(bright_cluster((5.5, 5.5)), 65535.0), "intensity_scale"),
    ],
)
def test_intensities_that_are_missing_or_of_another_scale_are_reported(fields, points, kind):
    read = lidar_points(message(points, fields=fields), 255.0)
    assert read.problem[0] == kind and read.points.shape == (len(points), 4)


def test_clouds_that_are_none_are_named():
    lacking = message(in_lidar(bright_cluster((5.5, 5.5))), fields=(("x", "f4"), ("y", "f4"), ("depth", "f4")))
    with pytest.raises(DataError, match="has no field z"):
        lidar_points(lacking, 255.0)
    vectors = message(in_lidar(bright_cluster((5.5, 5.5))))
    vectors.fields = [replace_count(field, 3 if field.name == "x" else 1) for field in vectors.fields]
    vectors.fields[0].offset = 4
    with pytest.raises(DataError, match="several values of x in each point"):
        lidar_points(vectors, 255.0)
    with pytest.raises(DataError, match="is no PointCloud2"):
        deserialise(b"\x00\x01\x00\x00abc", PointCloud2)


def replace_count(field: PointField, count: int) -> PointField:
    return PointField(name=field.name, offset=field.offset, datatype=field.datatype, count=count)
