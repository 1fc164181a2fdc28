"""The student file that an update leaves: under the old one's name, with its ancestry, and a card that tells of it."""

from dataclasses import replace
from pathlib import Path

from kd_perception.atomic import write_text
from kd_perception.evaluation.result_folder import SUMMARY_FILE
from kd_perception.resources import student_path
from kd_perception.student.ancestry import Ancestor
from kd_perception.student.spec import Student, load_student
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config, file_digest, save_weights
from kd_training.checkpoints.export import export_student
from kd_training.checkpoints.models import load_model
from kd_training.checkpoints.provenance import provenance_of
from kd_training.config.experiment import TrainConfig, student_config
from kd_training.evaluation.validation import measured_accuracy, metrics_folder
from kd_training.tasks.frozen_student import old_weights

DOMAIN = "domain"  # entry of a student file's provenance: what its last update learnt
BLEND = "blend_share"  # and how far it is from the old weights to the trained ones


def updated_name(config: TrainConfig) -> str:
    """Name of the student file that an update leaves in its folder: the old one's."""
    return old_weights(config.continual.student).with_suffix(".onnx").name


def ancestry_of(given: str) -> tuple[Ancestor, ...]:
    """The ancestors of what becomes of continual.student, that one last.

    Weights without a student file next to them have none before them.
    """
    file = student_path(Path(given)).with_suffix(".onnx")
    if file.is_file():
        old = load_student(file)
        facts = old.spec.provenance
        domain = facts.get(DOMAIN) or facts.get("data", "")
        return (*old.spec.ancestry, Ancestor(old.model_id, domain, facts.get("commit", "")))
    weights = old_weights(given)
    config = student_config(checkpoint_config(weights), str(weights))
    facts = provenance_of(config, config.continual.domain)
    digest = file_digest(weights)
    return (Ancestor(Student(weights, load_model(weights).spec, digest).model_id, facts["data"], ""),)


def export_updated(config: TrainConfig, folder: Path) -> Student:
    """Write the student file of a finished update, the weights next to it and the card, into the run's folder."""
    trained = folder / WEIGHTS_FILE
    config = replace(config, data=replace(config.data, workers=0))
    target, model = folder / updated_name(config), load_model(trained)
    update = {DOMAIN: config.continual.domain, BLEND: f"{config.continual.blend_share:g}"}
    provenance = {**provenance_of(config, ""), **update}
    accuracy = measured_accuracy(metrics_folder(folder, 0) / SUMMARY_FILE)
    export_student(model, target, provenance, accuracy, {}, ancestry=ancestry_of(config.continual.student))
    save_weights(model.state_dict(), config, target.with_suffix(".safetensors"))
    student = load_student(target)
    write_text(target.with_suffix(".md"), card(student, config))
    return student


def card(student: Student, config: TrainConfig) -> str:
    """The model card of an updated student, in Markdown."""
    spec, kept = student.spec, config.continual
    rows = "\n".join(f"| {entry.model} | {entry.domain} | {entry.commit or '-'} |" for entry in spec.ancestry)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in spec.accuracy.items() if name in ("mAP", "NDS"))
    replay = f"{kept.replay.share:.0%} of the samples from {kept.replay.folder}" if kept.replay.folder else "nothing"
    blend = f"{kept.blend_share:g} of the way from the old ones to the trained ones (arXiv:2109.01903)"
    return f"""# {spec.name}

An update of {spec.ancestry[-1].model} on the domain '{kept.domain}'. It takes the old file's place on the robot: the
inputs, and how they are made, are the same.

| | |
|---|---|
| model | {student.model_id} |
| file | {student.path.name}, {student.path.stat().st_size / 1e6:.1f} MB |
| classes | {", ".join(spec.classes.names)} |
| data | {spec.provenance["data"]} |
| replayed | {replay} |
| training | {spec.provenance["training"]} |
| weights | {"the trained ones" if kept.blend_share == 1.0 else blend} |
| commit | {spec.provenance["commit"]} |
| accuracy | {figures or "not measured; kd continual gate measures every domain"} |

What it was before, the first one first:

| student | had learnt | commit |
|---|---|---|
{rows}
| {student.model_id} | {kept.domain} | {spec.provenance["commit"]} |
"""
