"""The class list of a LiDAR teacher, which a node next to it is told of."""

from pathlib import Path

from kd_perception.geometry.classes import ClassList, read_classes
from kd_perception.student.classes import CLASS_LIST_SUFFIXES
from kd_perception.teacher.spec import open_teacher


def classes_of_teacher(given: Path) -> ClassList:
    """The list of a YAML or of a teacher file; raises ConfigError or StudentError if the file cannot be used."""
    return read_classes(given) if given.suffix in CLASS_LIST_SUFFIXES else open_teacher(given).spec.classes
