"""Names that say which thing they mean: a class name stands once in the repository and hides nothing of Python's."""

import ast
import builtins
from collections import defaultdict

from support.checkout import ROOT

PACKAGES = ("kd_perception", "kd_training", "kd_synthetic", "kd_bench")
TAKEN = {"Path", "Counter", "Enum", "Process", "Thread", "Future", "Queue", *dir(builtins)}


def classes():
    """Every class at the top of a module, by name, with the files that define it."""
    found = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(path.relative_to(ROOT)))
    return found


def test_a_class_name_stands_once():
    twice = {name: files for name, files in classes().items() if len(files) > 1}
    assert not twice


def test_no_class_hides_a_name_of_python():
    hiding = {name: files for name, files in classes().items() if name in TAKEN}
    assert not hiding
