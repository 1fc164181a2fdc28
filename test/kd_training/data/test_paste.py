"""Ground-truth paste: classes are filled up, boxes never overlap, points travel with their boxes; the database is kept
on disk; it ends before the run does."""

from dataclasses import replace

import numpy as np
import pytest
from support.clouds import surface, write_cloud
from support.nuscenes_tables import VERSION, write_dataset
from support.training_data import lidar_batches, lidar_source

from kd_perception.errors import ConfigError
from kd_perception.geometry.box_geometry import Rectangles, rectangles_overlap
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply
from kd_training.batches.run_plan import RunPlan
from kd_training.config.sections import DataRoot, ScheduleConfig
from kd_training.config.teacher import LidarDataConfig, PasteConfig, PointsConfig
from kd_training.data import paste as paste_module
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.held_points import inside
from kd_training.data.lidar_batches import LidarBatches
from kd_training.data.lidar_source import LidarSource
from kd_training.data.paste import build_paste, cut_objects

GRID = BevGrid.square(51.2, 0.8)
CONFIG = PasteConfig(counts={"car": 6, "bus": 3, "barrier": 4})
CAR = CLASSES.index("car")


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[TrainingFrame, ...]:
    """Six keyframes; every box of the first three holds 20 points of its own and nothing else is there; the others
    have no cars."""
    loaded = open_frames([DataRoot(root=str(write_dataset(tmp_path_factory.mktemp("painted"))), version=VERSION)])
    rng = np.random.default_rng(0)
    for frame in loaded:
        boxes = frame.boxes
        points = [surface(rng, boxes.center[i], boxes.size[i], boxes.yaw[i], 20) for i in range(len(boxes))]
        scatter = np.column_stack([rng.uniform(-30, 30, (300, 2)), np.full(300, 0.7)])
        write_cloud(frame, frame.lidar, apply(frame.frame.global_from_ego, np.concatenate([*points, scatter])))
    return tuple(replace(frame, boxes=frame.boxes[frame.boxes.label != CAR]) for frame in loaded[3:]) + loaded[:3]


def source() -> LidarSource:
    return lidar_source(PointsConfig(sweeps=1, per_pillar=0))


def test_pasted_objects_fill_up_their_classes_without_overlap(frames):
    points = source()
    paste = build_paste(frames, points, CONFIG)
    pasted_any = 0
    for seed in range(8):
        cloud, boxes = paste(points.cloud(frames[0]), frames[0].boxes, np.random.default_rng(seed))
        for name, count in CONFIG.counts.items():
            label = CLASSES.index(name)
            had = np.count_nonzero(frames[0].boxes.label == label)
            assert had <= np.count_nonzero(boxes.label == label) <= max(had, count)
        pasted_any += len(boxes) - len(frames[0].boxes)
        outlines = Rectangles.of(boxes)
        together = rectangles_overlap(outlines[:, None], outlines[None])
        assert not (together & ~np.eye(len(boxes), dtype=bool)).any()
        for index in range(len(frames[0].boxes), len(boxes)):
            held = cloud[inside(cloud, boxes, index)]
            own = [
                paste.objects.of(k) for k in np.flatnonzero((paste.objects.boxes.center == boxes.center[index]).all(1))
            ]
            assert len(held) >= 20 and any(np.isin(held, points).all() for points in own)  # no other point is inside
    assert pasted_any > 8


def test_paste_is_a_function_of_the_generator_and_leaves_its_input_alone(frames):
    points = source()
    paste = build_paste(frames, points, CONFIG)
    before = points.cloud(frames[0]).copy()
    first, again, other = (paste(points.cloud(frames[0]), frames[0].boxes, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert len(first[0]) != len(other[0]) or (first[0] != other[0]).any()
    np.testing.assert_array_equal(points.cloud(frames[0]), before)


def test_objects_with_few_points_and_more_than_wanted_are_not_kept(frames):
    cut = cut_objects(frames, source(), replace(CONFIG, per_class=2))
    assert np.bincount(cut.boxes.label, minlength=10)[[CAR, CLASSES.index("bus")]].tolist() == [2, 2]
    assert not len(cut_objects(frames, source(), replace(CONFIG, least_points=1000)).boxes)


def test_the_database_is_read_back_from_its_file_unless_it_is_of_other_frames(frames, tmp_path, monkeypatch):
    config = replace(CONFIG, file=str(tmp_path / "objects.npz"))
    written = build_paste(frames, source(), config).objects
    calls = []
    monkeypatch.setattr(paste_module, "cut_objects", lambda *_: calls.append(1) or written)
    read = build_paste(frames, source(), config).objects
    assert not calls
    np.testing.assert_array_equal(read.points, written.points)
    np.testing.assert_array_equal(read.boxes.velocity, written.boxes.velocity)
    build_paste(frames[1:], source(), config)
    assert calls == [1]
    (tmp_path / "objects.npz").write_bytes(b"cut")
    build_paste(frames, source(), config)
    assert calls == [1, 1]


def test_no_class_no_paste_and_an_unknown_class_is_named(frames):
    assert build_paste(frames, source(), PasteConfig()) is None
    with pytest.raises(ConfigError, match="'cars', which is no class"):
        build_paste(frames, source(), PasteConfig(counts={"cars": 3}))


def test_the_last_part_of_a_run_has_no_pasted_objects(frames):
    config = LidarDataConfig(paste=replace(CONFIG, until=0.5), balance_classes=False)
    schedule, plan = ScheduleConfig(batch=6), RunPlan(steps=5, micro_batches=2)
    pasted = lidar_batches(frames, source(), config, schedule, plan)
    plain = lidar_batches(frames, source(), replace(config, paste=PasteConfig()), schedule, plan)

    def objects(batches: LidarBatches, step: int) -> int:
        return len(batches[step].ground_truth.codes)

    assert objects(pasted, 4) > objects(plain, 4)
    assert objects(pasted, 5) == objects(plain, 5)
