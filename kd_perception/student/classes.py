"""The class list that a command or a node is told of: by a YAML file, or by the student file that detects them."""

from pathlib import Path

from kd_perception.geometry.classes import NUSCENES, ClassList, read_classes
from kd_perception.student.spec import load_student

STUDENT_SUFFIX = ".onnx"
CLASSES_HELP = "Class list (.yaml), or the student file (.onnx) that has it. Default: the ten nuScenes classes."


def chosen_classes(given: Path | None) -> ClassList:
    """The list of a file, nuScenes' ten without one; raises ConfigError or StudentError if the file cannot be used."""
    if given is None:
        return NUSCENES
    return load_student(given).spec.classes if given.suffix == STUDENT_SUFFIX else read_classes(given)
