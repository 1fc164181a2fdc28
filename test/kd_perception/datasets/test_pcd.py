"""The reader of .pcd files: fields of several numbers, damaged heads, cut bodies, and LZF."""

import numpy as np
import pytest
from support.pcd import pack_lzf, pcd

from kd_perception.datasets.pcd import is_pcd, read_pcd, unpack_lzf
from kd_perception.errors import DataError

FIELDS = {"x": np.arange(40, dtype=np.float32), "y": np.full(40, -2.5), "z": np.arange(40, dtype=np.int16)}
CODINGS = ("ascii", "binary", "binary_compressed")


@pytest.mark.parametrize("coding", CODINGS)
def test_fields_come_back(coding):
    data = pcd(FIELDS, coding)
    assert is_pcd(data) and is_pcd(data.split(b"\n", 1)[1])
    for name, values in read_pcd(data, "here").items():
        np.testing.assert_array_equal(values, FIELDS[name])


@pytest.mark.parametrize("coding", ["ascii", "binary"])
def test_of_a_field_of_several_numbers_the_first_counts(coding):
    """'_' pads rows in many files."""
    pairs = {"x": FIELDS["x"], "_": np.zeros(40, np.uint8), "__": np.ones(40, np.uint8), "z": FIELDS["z"]}
    data = pcd(pairs, coding)
    data = data.replace(b"FIELDS x _ __ z", b"FIELDS x _ z").replace(b"SIZE 4 1 1 2", b"SIZE 4 1 2")
    data = data.replace(b"TYPE F U U I", b"TYPE F U I").replace(b"COUNT 1 1 1 1", b"COUNT 1 2 1")
    found = read_pcd(data, "here")
    np.testing.assert_array_equal(found["x"], FIELDS["x"])
    np.testing.assert_array_equal(found["z"], FIELDS["z"])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("share", [0.6, 0.97])
def test_a_cut_file_is_named(coding, share):
    data = pcd(FIELDS, coding)
    with pytest.raises(DataError, match="here is truncated|here holds no rows"):
        read_pcd(data[: int(share * len(data))], "here")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"DATA binary", b"DATA zipped", "has DATA zipped"),
        (b"SIZE 4 8 2", b"SIZE 4 8", "head of here cannot be read"),
        (b"TYPE F F I", b"TYPE F F Q", "head of here cannot be read"),
        (b"COUNT 1 1 1", b"COUNT 1 1", "do not fit together"),
        (b"POINTS 40", b"POINTS many", "head of here cannot be read"),
        (b"FIELDS x y z", b"", "head of here cannot be read"),
        (b"\nDATA binary\n", b"", "ends before its line DATA"),
    ],
)
def test_damaged_heads_are_named(old, new, message):
    with pytest.raises(DataError, match=message):
        read_pcd(pcd(FIELDS, "binary").replace(old, new), "here")


def test_damage_within_a_compressed_body_is_named():
    data = bytearray(pcd(FIELDS, "binary_compressed"))
    data[data.index(b"compressed\n") + 19] = 255
    with pytest.raises(DataError, match="here is damaged"):
        read_pcd(bytes(data), "here")


@pytest.mark.parametrize("data", [b"", b"a", b"abc" * 500, bytes(3000), np.random.default_rng(0).bytes(999)])
def test_lzf(data):
    packed = pack_lzf(data)
    assert unpack_lzf(packed) == data
