"""What a robot installs suffices: requirements/robot.txt for the nodes, package.xml's rosdep keys for launch files."""

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement
from support.checkout import ROOT

OTHER_PACKAGES = {"kd_training", "kd_synthetic", "kd_bench"}
OF_THE_MACHINE = {"tensorrt"}  # imported on use; NVIDIA's installation brings it
EXTRAS = {"rerun", "pyarrow"}  # imported on use; the extras `viewer` and `av2` bring them
ROSDEP = {  # keys of rosdistro's rosdep/python.yaml for Debian and Ubuntu, and the distribution that each brings
    "python3-numpy": "numpy",
    "python3-opencv": "opencv-python-headless",
    "python3-pytest": "pytest",
    "python3-pytest-timeout": "pytest-timeout",
    "python3-transforms3d": "transforms3d",
    "python3-yaml": "pyyaml",
}
IMPORT_WITHOUT = """
import importlib, sys

hidden = set(sys.argv[1].split(","))

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is of no distribution that a robot installs", name=name)

sys.meta_path.insert(0, Hide())
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in ("launch", "launch_ros"):  # only in a ROS 2 installation
            raise
"""


def normal(name):
    return name.lower().replace("_", "-")


def pinned(file):
    lines = (ROOT / "requirements" / file).read_text().splitlines()
    return {normal(re.split("==", line)[0]) for line in lines if "==" in line}


def declared():
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    return {element.text for element in root if element.tag.endswith("depend")}


def with_requirements(names):
    """The distributions and all that they need."""
    found, waiting = set(), {normal(name) for name in names}
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            needed = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue  # of another platform, or an alternative that is not installed
        wanted = {normal(one.name) for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})}
        waiting |= wanted - found
    return found


def import_with_only(distributions, modules):
    """Import the modules in a Python that sees ROS and these distributions with what they need."""
    visible, of_ros = with_requirements(distributions) | {"kd-perception"}, declared()
    hidden = [
        name
        for name, owners in packages_distributions().items()
        if name not in of_ros and not any(normal(owner) in visible or owner.startswith("ros-") for owner in owners)
    ]
    command = [sys.executable, "-c", IMPORT_WITHOUT, ",".join([*hidden, *OTHER_PACKAGES]), *modules]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def imported(path):
    """Full names of the modules that a file imports, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def modules_of(package):
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / package).rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def test_the_robot_side_imports_with_the_robot_s_requirements_alone():
    """No training framework, no other package of this repository, no library that only tests or training install."""
    import_with_only(pinned("robot.txt"), modules_of("kd_perception"))


def test_what_the_robot_side_imports_on_use_is_required_too():
    providers, allowed = packages_distributions(), pinned("robot.txt") | pinned("ros.txt")
    names = {name.split(".")[0] for path in (ROOT / "kd_perception").rglob("*.py") for name in imported(path)}
    foreign = names - sys.stdlib_module_names - {"kd_perception"} - declared() - OF_THE_MACHINE - EXTRAS
    missing = {name for name in foreign if not {normal(owner) for owner in providers.get(name, ())} & allowed}
    assert missing == set(), "pin it in requirements/robot.txt, or declare it in package.xml"


def test_launch_files_need_nothing_but_what_rosdep_installs():
    """They run in the Python of ros2cli, outside the environment of the nodes."""
    files = [*(ROOT / "launch").glob("*.py"), ROOT / "kd_perception" / "bringup" / "ros_launch.py"]
    modules = {name for file in files for name in imported(file) if name.startswith("kd_perception.")}
    keys = {name for name in declared() if name.startswith("python3-") and "pytest" not in name}
    import_with_only({ROSDEP[key] for key in keys}, sorted(modules))


def test_rosdep_keys_exist():
    assert {name for name in declared() if name.startswith("python3-")} <= ROSDEP.keys()
