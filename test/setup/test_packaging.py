"""package.xml, setup.py, the requirement files and the installed environment agree."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

import pytest
from support.checkout import ROOT

PACKAGES = ("kd_perception", "kd_training", "kd_synthetic", "kd_bench")
DIRECT = [path for path in sorted((ROOT / "requirements").glob("*.txt")) if path.name != "indirect.txt"]
MESSAGE_IMPORT = re.compile(r"^\s*(?:from|import)\s+(\w+_(?:msgs|interfaces|srvs))\b", re.MULTILINE)


def package(path):
    return ElementTree.parse(path).getroot()


def distribution_or_skip():
    try:
        return distribution("kd-perception")
    except PackageNotFoundError:
        pytest.skip("kd_perception is not installed in this Python; `make setup` installs it")


def direct_lines():
    lines = [(path.name, line) for path in DIRECT for line in path.read_text().splitlines()]
    return [(name, line) for name, line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(("file", "line"), direct_lines())
def test_every_requirement_is_pinned_exactly_and_says_why(file, line):
    assert re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;]+(; [^#]+)?  # \S.*", line) or names_another_file(line)


def names_another_file(line):
    """Whether a line takes over a file of this folder, and says why: its lines are tested where they stand."""
    found = re.fullmatch(r"-r (\w+\.txt)  # \S.*", line)
    return found is not None and (ROOT / "requirements" / found[1]) in DIRECT


def test_no_requirement_is_pinned_twice():
    indirect = (ROOT / "requirements" / "indirect.txt").read_text().splitlines()[1:]
    names = [
        re.split("==", line)[0].lower().replace("_", "-") for line in [line for _, line in direct_lines()] + indirect
    ]
    assert sorted(names) == sorted(set(names))


def imported_names():
    """Top-level names that the packages import, lazily or not."""
    for package_name in PACKAGES:
        for path in (ROOT / package_name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.split(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module.split(".")[0]


def test_everything_imported_is_required_directly():
    """A library that only happens to be installed because another one needs it is not relied on."""
    required = {re.split("[=;]", line)[0].lower().replace("_", "-") for _, line in direct_lines()}
    providers = packages_distributions()
    third_party = set(imported_names()) - sys.stdlib_module_names - set(PACKAGES)
    declared = {element.text for element in package(ROOT / "package.xml") if element.tag.endswith("depend")}
    undeclared = {
        name
        for name in third_party - declared
        if name in providers and not {dist.lower().replace("_", "-") for dist in providers[name]} & required
    }
    assert undeclared == set()


def test_one_version_everywhere():
    from kd_perception import __version__

    versions = {package(ROOT / folder / "package.xml").findtext("version") for folder in ("", "kd_msgs")}
    setup = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text()).group(1)
    assert versions | {setup} == {__version__}


def test_package_xml_declares_every_message_package_that_is_imported():
    declared = {element.text for element in package(ROOT / "package.xml") if element.tag.endswith("depend")}
    sources = [path.read_text() for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    imported = {name for text in sources for name in MESSAGE_IMPORT.findall(text)}
    assert imported, "no source imports a message package: the pattern is wrong"
    assert imported <= declared


def test_every_message_file_is_generated():
    listed = set(re.findall(r'"(msg/\w+\.msg)"', (ROOT / "kd_msgs" / "CMakeLists.txt").read_text()))
    assert listed == {f"msg/{path.name}" for path in (ROOT / "kd_msgs" / "msg").iterdir()}


def declared_entry_points():
    """Every entry point that setup.py declares, as (group, text)."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "entry_points":
            return [(group, text) for group, texts in ast.literal_eval(node.value).items() for text in texts]
    raise AssertionError("setup.py declares no entry points")


@pytest.mark.parametrize(("group", "text"), declared_entry_points())
def test_entry_points_lead_to_something_callable(group, text):
    module, name = text.split(" = ")[1].split(":")
    if ".nodes." in module or module.endswith("bringup"):
        pytest.importorskip("rclpy")
    assert callable(getattr(importlib.import_module(module), name))


def test_installed_entry_points_are_those_of_setup_py():
    installed = distribution_or_skip().entry_points
    assert {(entry.group, f"{entry.name} = {entry.value}") for entry in installed} == set(declared_entry_points())


def test_set_up_runs_through_a_link_in_another_folder(tmp_path):
    """As `colcon build --symlink-install` runs it."""
    (tmp_path / "setup.py").symlink_to(ROOT / "setup.py")
    result = subprocess.run([sys.executable, "setup.py", "--name"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.strip() == "kd_perception", result.stderr


def test_shared_files_keep_their_folders(tmp_path):
    """launch, config and models land under share/kd_perception as they lie in the checkout."""
    result = subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", f"-e{tmp_path}", "install_data", f"--install-dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    share = tmp_path / "share" / "kd_perception"
    found = [path for folder in ("launch", "config", "models") for path in (ROOT / folder).rglob("*")]
    sources = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    assert sources
    for path in sources:
        assert (share / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert (share / "package.xml").is_file()


def test_a_zipped_package_renders_its_pages(tmp_path):
    """The templates are package data, found wherever the package is installed."""
    build = [sys.executable, "setup.py", "-q", "egg_info", f"-e{tmp_path}", "build_py", f"--build-lib={tmp_path}/lib"]
    result = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    archive = shutil.make_archive(str(tmp_path / "packages"), "zip", tmp_path / "lib")
    script = (
        f"import sys; sys.path.insert(0, {archive!r})\n"
        "from kd_perception.drawing import pages\n"
        "print(pages.__file__, pages.render_page('base.html', title='a & b'))\n"
    )
    result = subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(archive) and "<h1>a &amp; b</h1>" in result.stdout
