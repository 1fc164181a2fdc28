"""The CMake files of ROS wheels name this Python's include folders after the repair, and nothing else changes."""

import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from support.checkout import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
from repair_ros_wheels import repair, repaired  # noqa: E402

BUILD_MACHINE = (
    'INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include;/opt/python/cp312-cp312/include/python3.12;'
    '/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include"\n'
)
HERE = 'INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include;/here/include/python3.11;/here/numpy\\include"\n'


@pytest.fixture
def prefix(tmp_path):
    cmake = tmp_path / "share" / "std_msgs" / "cmake"
    cmake.mkdir(parents=True)
    (cmake / "Export.cmake").write_text(BUILD_MACHINE)
    (cmake / "Config.cmake").write_text("set(x /opt/other)\n")
    return tmp_path


def test_both_includes_are_replaced_literally():
    assert repaired(BUILD_MACHINE, "/here/include/python3.11", "/here/numpy\\include") == HERE


def test_numpy_1_folder_is_replaced_too():
    text = "/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/core/include"
    assert repaired(text, "/python", "/numpy") == "/numpy"


def test_only_files_that_need_it_change_and_a_second_run_changes_nothing(prefix):
    changed = repair(prefix, "/here/include/python3.11", "/here/numpy\\include")
    assert changed == [prefix / "share" / "std_msgs" / "cmake" / "Export.cmake"]
    assert changed[0].read_text() == HERE
    assert (prefix / "share" / "std_msgs" / "cmake" / "Config.cmake").read_text() == "set(x /opt/other)\n"
    assert repair(prefix, "/here/include/python3.11", "/here/numpy\\include") == []
    assert not list(prefix.rglob("*.part"))


def test_this_environment_is_repaired():
    exports = list((Path(sys.prefix) / "share" / "std_msgs").rglob("*generator_pyExport.cmake"))
    if not exports:
        pytest.skip("ROS 2 does not come from wheels here")
    text = "".join(path.read_text() for path in exports)
    assert "/opt/python" not in text
    assert sysconfig.get_path("include") in text
    assert np.get_include() in text
