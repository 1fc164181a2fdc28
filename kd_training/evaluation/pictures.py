"""Pictures at the end of a run: teacher, student and ground truth of some validation frames side by side."""

from pathlib import Path

from kd_perception.atomic import write_bytes
from kd_perception.drawing.cameras import encode_image
from kd_perception.drawing.style import DRAWN_SCORE
from kd_perception.evaluation.comparison import draw_comparison
from kd_perception.evaluation.pictures import load_surroundings, spread
from kd_perception.evaluation.result_folder import PICTURES_FOLDER, TRAINED_RESULTS_FILE
from kd_perception.evaluation.results import boxes_of_result, read_results
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config
from kd_training.checkpoints.models import load_teacher
from kd_training.config.experiment import LabelTrainConfig, TrainConfig
from kd_training.config.student_spec import configured_classes
from kd_training.data.frames import open_dataset
from kd_training.evaluation.teacher import TeacherDetector
from kd_training.evaluation.validation import metrics_folder

FRAMES = 4


def write_comparisons(out: Path) -> Path | None:
    """Draw some frames of a finished run's first validation set from the detections that were scored.

    Returns the folder of the pictures, None where there is no validation set, and for label encoders.
    """
    config = checkpoint_config(out / WEIGHTS_FILE)
    if not config.data.validation or isinstance(config, LabelTrainConfig):
        return None
    section = config.model if isinstance(config, TrainConfig) else config.teacher
    classes = configured_classes(section.classes, section.name)
    dataset = open_dataset(config.data.validation[0], classes, anchor=config.data.anchor)
    results = read_results(metrics_folder(out, 0) / TRAINED_RESULTS_FILE)
    is_student = isinstance(config, TrainConfig)
    teacher = None
    if is_student and config.distill.teacher:
        teacher = TeacherDetector(load_teacher(Path(config.distill.teacher)))
    place_of = {facts.key: place for place, facts in enumerate(dataset.frames.facts)}
    folder = out / PICTURES_FOLDER
    for number, token in enumerate(spread(list(results), FRAMES)):
        frame = dataset.frames[place_of[f"{dataset.nusc.dataroot}/{dataset.nusc.version}/{token}"]]
        boxes = {} if teacher is None else {"teacher": teacher.detect(frame)}
        boxes["student" if is_student else "teacher"] = boxes_of_result(
            results[token], frame.frame.global_from_ego, classes
        )
        shown = {name: each[each.score >= DRAWN_SCORE] for name, each in boxes.items()}
        picture = draw_comparison(load_surroundings(dataset.nusc, token, classes), shown)
        write_bytes(folder / f"{number:02d}_{frame.frame.scene}.jpg", encode_image(picture))
    return folder
