"""The class list that a command or a node is told of: by a YAML file, or by the student file that detects them."""

from pathlib import Path

from kd_perception.geometry.classes import NUSCENES, ClassList, read_classes
from kd_perception.student.spec import load_student

CLASS_LIST_SUFFIXES = (".yaml", ".yml")


def chosen_classes(given: Path | None) -> ClassList:
    """The list of a YAML or of a student (a file, or the name of a shipped one), nuScenes' ten without one.

    Raises ConfigError or StudentError if the file cannot be used.
    """
    if given is None:
        return NUSCENES
    return read_classes(given) if given.suffix in CLASS_LIST_SUFFIXES else load_student(given).spec.classes
