"""Reads a published checkpoint, makes our weights of it, and writes them with the account of every tensor."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kd_perception.atomic import write_bytes
from kd_perception.errors import ConfigError, DataError
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, save_weights
from kd_training.config.experiment import AnyConfig, TeacherTrainConfig, load_config, student_config
from kd_training.config.teacher import LidarDataConfig
from kd_training.models.students import build_student
from kd_training.models.teachers import build_teacher
from kd_training.published.centerpoint_table import Checkpoint, centerpoint_pairs, teacher_of
from kd_training.published.coverage import Coverage, Pair, cover, table_text
from kd_training.published.files import PublishedFile, read_published
from kd_training.published.frameworks import Framework, framework_of
from kd_training.published.head_table import BoxConvention
from kd_training.published.student_table import student_pairs

COVERAGE_FILE = "coverage.txt"
STUDENTS = {"bevdet": "config/training/bevdet_r50.yaml", "bevdepth": "config/training/bevdepth_r50.yaml"}
TEACHERS = {"centerpoint_voxel": True, "centerpoint_pillar": False}  # by name, whether it has voxels


@dataclass(frozen=True)
class Import:
    """What is imported: file, folder, name of the network; conventions of boxes, if given; the LiDAR's height."""

    source: Path
    out: Path
    subject: str
    boxes: BoxConvention | None = None
    lidar_height: float = 1.84  # metres above base_link, nuScenes'


@dataclass(frozen=True)
class Matched:
    """A model of ours, its configuration, and how its tensors are made."""

    model: nn.Module
    config: AnyConfig
    pairs: list[Pair]
    ignored: Iterable[str] = ()


def import_checkpoint(
    wanted: Import, *, partial: bool = False, say: Callable[[str], None] = lambda text: None
) -> Coverage:
    """Write coverage, and weights where all is covered, or `partial`: what is missing is then random.

    `say` is told what is not mapped.

    Raises DataError for a file that cannot be read or is of another layout, and where it is covered in part only.
    """
    if wanted.subject not in {**STUDENTS, **TEACHERS}:
        raise ConfigError(f"'{wanted.subject}' cannot be imported; choose {', '.join({**TEACHERS, **STUDENTS})}")
    file = read_published(wanted.source)
    torch.manual_seed(0)
    matched = _student(file, wanted) if wanted.subject in STUDENTS else _teacher(file, wanted)
    own = matched.model.state_dict()
    coverage = cover(file.state, own, matched.pairs, matched.ignored)
    wanted.out.mkdir(parents=True, exist_ok=True)
    write_bytes(wanted.out / COVERAGE_FILE, table_text(coverage).encode())
    say(table_text(coverage, problems_only=True))
    _check(coverage, wanted, partial=partial)
    save_weights({**own, **coverage.made}, matched.config, wanted.out / WEIGHTS_FILE)
    return coverage


def _check(coverage: Coverage, wanted: Import, *, partial: bool) -> None:
    """Raise DataError where weights may not be written."""
    where = wanted.out / COVERAGE_FILE
    if not coverage.made:
        raise DataError(f"{wanted.source} covers nothing of {wanted.subject}; {where} has every tensor by name")
    if coverage.complete or partial:
        return
    state, name, more = coverage.rows()[0]
    first = " ".join([name, *more])
    raise DataError(
        f"{wanted.source} covers {wanted.subject} in part: {coverage.summary}, first {state}: {first}. {where} has "
        "every tensor by name; --partial writes the weights all the same, with the rest random"
    )


def _teacher(file: PublishedFile, wanted: Import) -> Matched:
    framework = framework_of(file)
    checkpoint = Checkpoint(file, framework, _boxes(file, framework, wanted.boxes), wanted.lidar_height)
    teacher = teacher_of(checkpoint, voxels=TEACHERS[wanted.subject])
    config = TeacherTrainConfig(teacher=teacher, data=LidarDataConfig(roots=[]))
    config.schedule.steps = 1
    return Matched(build_teacher(teacher), config, centerpoint_pairs(checkpoint, teacher), framework.ignored)


def _boxes(file: PublishedFile, framework: Framework, given: BoxConvention | None) -> BoxConvention:
    if given is not None:
        return given
    if framework.boxes is not None:
        return framework.boxes
    if file.framework is None:
        raise DataError(
            f"{file.path} does not say which mmdetection3d wrote it, and 1.0 changed how boxes are coded; give "
            f"--boxes {BoxConvention.mmdet3d_0} (before 1.0) or --boxes {BoxConvention.mmdet3d_1}"
        )
    return BoxConvention.mmdet3d_0 if file.framework == 0 else BoxConvention.mmdet3d_1


def _student(file: PublishedFile, wanted: Import) -> Matched:
    path = resource(STUDENTS[wanted.subject])
    config = student_config(load_config(path, [f"model.name=imported_{wanted.subject}"]), str(path))
    lateral: Tensor | None = file.state.get("img_neck.lateral_convs.0.conv.weight")
    if lateral is not None:
        config.model.neck_channels = lateral.shape[0]
    model = build_student(config.model)
    return Matched(model, config, student_pairs(file, model.state_dict()))
