"""Which package may import which, and that folders import each other in one direction only."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from support.checkout import ROOT

ALLOWED = {
    "kd_perception": set(),
    "kd_synthetic": {"kd_perception"},
    "kd_training": {"kd_perception"},
    "kd_bench": {"kd_perception", "kd_synthetic", "kd_training"},
}


def imported_modules(path: Path) -> set[str]:
    """Every module of this repository that a file imports, lazily or not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] in ALLOWED}


def folder_of(package: str, module: str) -> str | None:
    """The first folder or file below the package that a module lies in; None for the package itself."""
    parts = module.split(".")
    if parts[0] != package or len(parts) < 2:
        return None
    inside = ROOT / package / parts[1]
    return parts[1] if inside.is_dir() or inside.with_suffix(".py").is_file() else None


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_those_below(package):
    for path in (ROOT / package).rglob("*.py"):
        above = {name for name in imported_modules(path) if name.split(".")[0] not in ALLOWED[package] | {package}}
        assert not above, f"{path.relative_to(ROOT)} imports {', '.join(sorted(above))}"


@pytest.mark.parametrize("package", ALLOWED)
def test_no_circle_between_folders(package):
    arrows: dict[str, set[str]] = {}
    for path in (ROOT / package).rglob("*.py"):
        own = path.relative_to(ROOT / package).with_suffix("").parts[0]
        others = {folder_of(package, name) for name in imported_modules(path)} - {None, own}
        arrows.setdefault(own, set()).update(others)
    try:
        order = list(TopologicalSorter(arrows).static_order())
    except CycleError as error:
        pytest.fail(f"folders of {package} import each other: {' -> '.join(error.args[1])}")
    assert set(order) >= {path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py"}
