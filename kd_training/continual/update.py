"""An update from its first step to its last: training, then the student file, then the buffer takes the domain in."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kd_perception.errors import ConfigError
from kd_training.batches.processes import is_first_process
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE
from kd_training.checkpoints.models import load_model
from kd_training.config.experiment import TrainConfig
from kd_training.config.student_spec import configured_classes
from kd_training.continual.ancestry import export_updated
from kd_training.continual.buffer import OfferedDomain, add_domain, check_new, scene_place
from kd_training.data.replay_buffer import read_buffer
from kd_training.data.unlabelled_sets import open_sets, open_student_frames
from kd_training.evaluation.finished_run import validate
from kd_training.evaluation.uncertainty import uncertainties
from kd_training.loop.before_start import check_start, check_writable
from kd_training.loop.train import train
from kd_training.loop.train_teacher_first import train_missing_teachers


def run_update(
    config: TrainConfig, folder: Path, overrides: Sequence[str] = (), *, resume: bool = False
) -> Iterator[str]:
    """Train, write the student file, and let the buffer take the domain in; what was done, in sentences.

    Raises as kd_training.loop.train.train, and KeyboardInterrupt if it was interrupted: go on with `resume`. An update
    that was killed behind its training goes on there. Raises ConfigError for a domain that the buffer has already,
    OSError for a buffer that takes no files.
    """
    check_update(config)
    check_start(config, folder)
    if config.continual.replay.folder:
        buffer = Path(config.continual.replay.folder)
        if not resume:
            check_new(read_buffer(buffer), config.continual.domain, new_scenes(config))
        check_writable(buffer)  # where the domain goes behind hours of training
    train_missing_teachers(config, overrides)
    if not train(config, folder, resume=resume):
        raise KeyboardInterrupt
    if is_first_process():
        validate(folder)
        student = export_updated(config, folder)
        yield f"{student.path}: {student.model_id}, an update of {student.spec.ancestry[-1].model}"
        if config.continual.replay.folder:
            yield keep_domain(config, folder)


def check_update(config: TrainConfig) -> None:
    """Raise ConfigError where the section continual names no student or no domain."""
    if not config.continual.student:
        raise ConfigError("continual.student names no student to update; give its file (.onnx), or train with kd train")
    if not config.continual.domain:
        raise ConfigError("continual.domain has no name for what is learnt; give a word, such as night")


def new_scenes(config: TrainConfig) -> list[str]:
    """The new domain's scenes, labelled or not, as BufferDomain has them."""
    classes = configured_classes(config.model.classes, config.model.name)
    data_sets = open_sets([*config.data.roots, *config.data.unlabelled], config.data, classes)
    return [scene_place(data_set.name, scene) for data_set in data_sets for scene in data_set.scenes]


def new_domain(config: TrainConfig) -> OfferedDomain:
    """The new domain as the buffer takes it; nobody has measured how unsure the student is of it yet."""
    alone = replace(config.continual, replay=replace(config.continual.replay, folder=""))
    classes = configured_classes(config.model.classes, config.model.name)
    return OfferedDomain(config.continual.domain, open_student_frames(config.data, classes, alone))


def keep_domain(config: TrainConfig, folder: Path) -> str:
    """Let the buffer take the new domain in, by how unsure the updated student is of it; what it holds, in a sentence.

    A buffer that has the domain, because this update was killed behind that, stays as it is.
    """
    place, offered = Path(config.continual.replay.folder), new_domain(config)
    buffer = read_buffer(place)
    had = {scene for domain in buffer.state.domains if domain.name == offered.name for scene in domain.scenes}
    if not had.issuperset(offered.scenes):
        unsure = uncertainties(load_model(folder / WEIGHTS_FILE), offered.frames)
        buffer = add_domain(place, replace(offered, uncertainty=unsure), config.continual.buffer)
    names = ", ".join(domain.name for domain in buffer.state.domains)
    return f"{place} holds {len(buffer.entries)} keyframes of {names}"
