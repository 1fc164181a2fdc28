"""Files of point clouds: what the tables declare is read, a .pcd by its head, anything else is told by its looks."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from support.pcd import pcd
from support.real_data import real_data

from kd_perception.datasets.clouds import KITTI_COLUMNS, read_cloud
from kd_perception.errors import DataError

COUNT = 2000


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """A turning LiDAR of 16 rings over a plane with walls, (COUNT, 5) float32."""
    rng = np.random.default_rng(3)
    ring = np.arange(COUNT) % 16
    turn = np.arange(COUNT) // 16 / (COUNT // 16) * 2 * np.pi
    distance = 8.0 + 4.0 * np.abs(np.sin(3 * turn)) + 2.0 * ring + rng.normal(0, 0.02, COUNT)
    cloud = [distance * np.cos(turn), distance * np.sin(turn), -1.8 + 0.1 * ring, rng.integers(0, 256, COUNT), ring]
    return np.column_stack(cloud).astype(np.float32)


def written(folder: Path, data: bytes, name: str = "cloud.pcd.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_rows_as_nuscenes_has_them(points, tmp_path):
    np.testing.assert_array_equal(read_cloud(written(tmp_path, points.tobytes())), points)


@pytest.mark.parametrize("first", [b"\x1f\x8b\x42\x40", b"\x1f\x8b\x08\x41", b"ply\x41", b"ply\xc0"])
def test_a_coordinate_that_looks_like_the_head_of_another_file(points, tmp_path, first):
    """In a large data set some first x begins with every two bytes there are."""
    data = first + points.tobytes()[4:]
    np.testing.assert_array_equal(read_cloud(written(tmp_path, data))[0, 0], np.frombuffer(first, np.float32)[0])


@pytest.mark.parametrize(
    "what, head",
    [
        ("a gzip file", gzip.compress(b"")), ("a PLY file", b"ply\nformat"), ("a PLY file", b"ply\r\nformat"),
        ("a LAS or LAZ file", b"LASF"), ("another ZIP file", b"PK\x03\x04"), ("a NumPy array", b"\x93NUMPY"),
        ("Git LFS", b"version https://git-lfs"),
    ],
)  # fmt: skip
def test_files_of_other_kinds_are_told_by_their_heads(points, tmp_path, what, head):
    with pytest.raises(DataError, match=rf"cloud.pcd.bin is .*{what}"):
        read_cloud(written(tmp_path, head + points.tobytes()))


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("columns", [3, 4, 6, 7])
@pytest.mark.parametrize("cut", [0, 13])
def test_other_rows_are_told_by_their_looks(points, tmp_path, kind, columns, cut):
    """Also where the number of bytes fits rows of five, and where the file is cut."""
    moved = points + np.random.default_rng(0).uniform(0.001, 0.002, points.shape)
    time = np.linspace(0.001, 0.1, COUNT)
    rows = np.column_stack([moved[:, :4], points[:, 4], time, 40 + time])[:, :columns].astype(kind)
    path = written(tmp_path, rows.tobytes()[: -cut or None])
    with pytest.raises(
        DataError, match=rf"cloud.pcd.bin is not rows of x, y, z.*: it looks like {columns} columns of {kind}; "
    ):
        read_cloud(path)


def test_a_fifth_column_of_times_is_no_ring(points, tmp_path):
    points = points.copy()
    points[:, 4] = np.linspace(0, 0.1, COUNT)
    with pytest.raises(
        DataError, match=r"the ring of 100% of the points is no whole number\): it looks like 5 columns"
    ):
        read_cloud(written(tmp_path, points.tobytes()))
    by_time = ("x", "y", "z", "intensity", "time")
    assert not read_cloud(written(tmp_path, points.tobytes()), by_time)[:, 4].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda points: points.tobytes()[:20006], "is truncated: 20006 bytes are not rows of x, y, z"),
        (lambda points: (points * [1000, 1000, 1000, 1, 1]).astype(np.float32).tobytes(), "further away than 2000 m"),
        (lambda points: bytes(COUNT * 20), "all coordinates are 0"),
        (lambda points: np.full((COUNT, 5), np.nan, np.float32).tobytes(), "no point has coordinates"),
        (lambda points: b"ply\nformat ascii 1.0\n", "is a PLY file; write it as .pcd"),
        (lambda points: b"1.0 2.0 3.0 4.0\n" * 100, "is a text; write it as .pcd"),
        (lambda points: b"", "is empty"),
    ],
)
def test_files_that_are_no_cloud(points, tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read_cloud(written(tmp_path, change(points)))


def test_lost_returns_do_no_harm(points, tmp_path):
    points = points.copy()
    points[::7, :3] = np.nan
    points[::7, 4] = np.nan
    points[3, :3] = 1e30
    assert read_cloud(written(tmp_path, points.tobytes())).shape == points.shape


def test_declared_columns(points, tmp_path):
    rows = np.column_stack([points[:, 4], points[:, :3], points[:, 3] / 255]).astype(np.float64)
    columns = ("ring", "x", "y", "z", "reflectance")
    np.testing.assert_allclose(read_cloud(written(tmp_path, rows.tobytes()), columns, "float64"), points, atol=1e-4)
    with pytest.raises(DataError, match=r"not rows of ring, x, y, z, reflectance in float64 .* like 4 columns of"):
        read_cloud(written(tmp_path, points[:, :4].tobytes()), columns, "float64")


def test_declared_columns_become_nuscenes_five(tmp_path):
    path = tmp_path / "cloud.bin"
    np.array([[1, 2, 3, 0.2], [4, 5, 6, 1.0]], np.float32).tofile(path)
    np.testing.assert_allclose(read_cloud(path, KITTI_COLUMNS), [[1, 2, 3, 51, 0], [4, 5, 6, 255, 0]])
    np.testing.assert_allclose(read_cloud(path, ("z", "y", "x", "time"))[:, :4], [[3, 2, 1, 0], [6, 5, 4, 0]])


def test_a_cut_cloud_and_wrong_declarations_are_refused(tmp_path):
    path = tmp_path / "cloud.bin"
    np.zeros(10, np.float32).tofile(path)
    with pytest.raises(DataError, match="40 bytes are not rows of x, y, z, reflectance in float32"):
        read_cloud(path, KITTI_COLUMNS)
    with pytest.raises(DataError, match="lack x, y or z"):
        read_cloud(path, ("x", "y", "intensity"))
    with pytest.raises(DataError, match="column_type of point cloud .* one of float32, float64"):
        read_cloud(path, KITTI_COLUMNS, "int16")


@pytest.mark.parametrize("coding", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("name", ["cloud.pcd", "cloud.pcd.bin"])
def test_a_pcd_is_read_whatever_its_name(points, tmp_path, coding, name):
    fields = {
        "intensity": points[:, 3].astype(np.uint8),
        "x": points[:, 0],
        "y": points[:, 1].astype(np.float64),
        "z": points[:, 2],
        "ring": points[:, 4].astype(np.uint16),
    }
    found = read_cloud(written(tmp_path, pcd(fields, coding), name))
    np.testing.assert_allclose(found, points, atol=1e-5)


def test_a_pcd_without_coordinates_names_its_fields(points, tmp_path):
    with pytest.raises(DataError, match="has no column z, only x, y"):
        read_cloud(written(tmp_path, pcd({"x": points[:, 0], "y": points[:, 1]}, "binary")))


@pytest.mark.real_data
def test_real_clouds():
    """nuScenes' and DDAD's rows are clouds; KITTI's four columns are told, and read where they are declared."""
    for folder in ("nuscenes-real", "ddad-real"):
        path = next((real_data(folder) / "samples" / "LIDAR_TOP").iterdir())
        assert len(read_cloud(path)) > 30_000
    path = real_data("kitti-real") / "training" / "velodyne" / "000001.bin"
    with pytest.raises(DataError, match="looks like 4 columns of float32"):
        read_cloud(path)
    found = read_cloud(path, KITTI_COLUMNS)
    assert len(found) == 120_268 and 100 < found[:, 3].max() <= 255
