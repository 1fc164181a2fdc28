"""Made tables are a data set like any other: they pass every check, and hold nuScenes' sensors, rates and boxes."""

from collections import Counter

from kd_bench.large_tables.command import VERSION
from kd_bench.large_tables.made_tables import BOXES_PER_KEYFRAME, MODALITY, MadeTables, write_sensor_files
from kd_bench.large_tables.workers import memory_of
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_samples
from kd_training.config.sections import DataRoot
from kd_training.data.frames import open_frames


def test_they_open_like_a_recorded_data_set(tmp_path):
    MadeTables(("scene-0001", "scene-0002"), keyframes=20).write(tmp_path / VERSION)
    nusc = open_nuscenes(tmp_path, VERSION)
    tokens = scene_samples(nusc, "scene-0002")
    assert len(tokens) == 20 and len(load_frame(nusc, tokens[3]).images) == 6
    front = load_frame(nusc, tokens[0]).images[0].camera
    assert front.name == "CAM_FRONT" and abs(front.ego_from_camera[:3, 2] - [1.0, 0.0, 0.0]).max() < 1e-9
    keyframes = Counter(row["channel"] for row in nusc.sample_data if row["is_key_frame"])
    assert keyframes == dict.fromkeys(MODALITY, 40)
    frames = open_frames([DataRoot(root=str(tmp_path), version=VERSION)])
    boxes = sum(len(frame.boxes) for frame in frames) / len(frames)
    assert len(frames) == 40 and 0.6 * BOXES_PER_KEYFRAME < boxes < BOXES_PER_KEYFRAME  # a quarter has no points


def test_samples_of_them_are_read_by_workers_whose_memory_is_measured(tmp_path):
    MadeTables(("scene-0001", "scene-0003"), keyframes=3).write(tmp_path / VERSION)  # the second is of no training
    write_sensor_files(tmp_path, seed=1)
    cells, keyframes = memory_of(tmp_path, VERSION, workers=1, batches=3)
    assert keyframes == 3 and len(cells) == 4 and all(10 < int(cell) < 10_000 for cell in cells)
