"""Which package may import which; that folders import each other in one direction; and that the picture shows it."""

import importlib.util
from graphlib import CycleError

import pytest
from support.checkout import ROOT

ALLOWED = {
    "kd_perception": set(),
    "kd_synthetic": {"kd_perception"},
    "kd_training": {"kd_perception"},
    "kd_bench": {"kd_perception", "kd_synthetic", "kd_training"},
}
MOST_FLOORS = {"kd_perception": 9, "kd_synthetic": 6, "kd_training": 8, "kd_bench": 2}


@pytest.fixture(scope="module")
def drawing():
    spec = importlib.util.spec_from_file_location("draw_packages", ROOT / "scripts" / "draw_packages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_those_below(drawing, package):
    for path in (ROOT / package).rglob("*.py"):
        imported = {name.split(".")[0] for name in drawing.imported_modules(path)}
        above = imported - ALLOWED[package] - {package}
        assert not above, f"{path.relative_to(ROOT)} imports {', '.join(sorted(above))}"


@pytest.mark.parametrize("package", ALLOWED)
def test_folders_form_no_circle_and_few_floors(drawing, package):
    imports = drawing.folder_imports(package)
    assert sum(map(len, imports.values())) > 0, "no import between folders was found: the reading is wrong"
    try:
        height = drawing.floors(imports)
    except CycleError as error:
        pytest.fail(f"folders of {package} import each other: {' -> '.join(error.args[1])}")
    assert max(height.values()) < MOST_FLOORS[package]


def test_a_long_way_round_is_no_direct_import(drawing):
    imports = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert drawing.floors(imports) == {"c": 0, "b": 1, "a": 2}
    assert drawing.direct_imports(imports) == {("a", "b"), ("b", "c")}


def test_the_picture_in_the_docs_is_of_these_imports(drawing):
    expected = drawing.draw(drawing.layout())
    assert drawing.PICTURE.read_text() == expected, "run `make pictures`: the imports between folders have changed"
