"""The facts about its origin that a student or teacher file states."""

from kd_perception.commit import code_commit
from kd_training.config.experiment import TeacherTrainConfig, TrainConfig


def provenance_of(config: TrainConfig | TeacherTrainConfig, data: str) -> dict[str, str]:
    """What a student or teacher file states about its origin; `data` describes the training data (empty: the roots)."""
    schedule = config.schedule
    length = f"{schedule.steps} steps" if schedule.steps else f"{schedule.epochs:g} epochs"
    samples = f"{schedule.total_batch} samples" if schedule.total_batch else f"{schedule.batch} samples per process"
    sources = [f"{source.root} {source.version}" for source in config.data.roots]
    if isinstance(config, TrainConfig):
        sources += [f"{source.root} {source.version} (labels by the teacher)" for source in config.data.unlabelled]
    facts = {
        "data": data or ", ".join(sources),
        "training": f"{length} of {samples}, seed {schedule.seed}, {schedule.precision}",
        "commit": code_commit(),
    }
    if isinstance(config, TrainConfig):
        teachers = {"teacher": config.distill.teacher, "camera_teacher": config.cross_scale.teacher}
        facts.update({name: file for name, file in teachers.items() if file})
    return facts
