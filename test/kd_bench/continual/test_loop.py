"""The loop end to end with a tiny student and a tiny teacher: recorded, learnt, judged, and swapped while it drives."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import teacher_run, write_teacher
from support.updates import NEW_SCENE, OLD_SCENE, update_run, write_old_student

from kd_bench.continual.loop import LoopInputs, LoopSettings, run_loop
from kd_bench.options import EngineChoice
from kd_perception.geometry.classes import NUSCENES
from kd_perception.options.recorder import RecorderOptions
from kd_perception.student.spec import load_student
from kd_training.checkpoints.checkpoint import file_digest, save_weights
from kd_training.checkpoints.export import export_student
from kd_training.checkpoints.models import load_model
from kd_training.config.continual import BufferConfig
from kd_training.config.sections import DataRoot
from kd_training.unlabelled.thresholds import ClassThresholds, Thresholds, write_thresholds

pytestmark = [pytest.mark.ros, pytest.mark.slow]
LOW = 0.05  # a teacher and a student that have learnt nothing are sure of nothing
RECORDER = RecorderOptions(
    interval_s=0.0, place_m=0.0, student_score=LOW, teacher_score=LOW, least_importance=0.0, pair_ms=500.0
)


def loud_teacher(target: Path) -> Path:
    """A teacher that sees objects here and there."""
    config, weights = teacher_run(Path("none")), load_file(write_teacher(target))
    torch.manual_seed(0)
    for name, value in weights.items():
        if name.startswith("head.heatmap.") and name.endswith("1.weight"):
            torch.nn.init.normal_(value, std=0.3)
    save_weights(weights, config, target)
    return target


def sure_of_cars(folder: Path, teacher: Path) -> Path:
    """Thresholds by which all its cars are truth, and nothing else is known."""
    never = ClassThresholds(low=1.0, confident=2.0, sure=2.0)
    classes = {name: ClassThresholds(LOW, LOW, LOW) if name == "car" else never for name in NUSCENES.names}
    write_thresholds(folder / "thresholds.json", Thresholds(file_digest(teacher), 1, classes))
    return folder / "thresholds.json"


def test_a_robot_records_learns_and_takes_the_new_student_while_it_drives(tmp_path):
    data, teacher = write_dataset(tmp_path / "data"), loud_teacher(tmp_path / "teacher.safetensors")
    old = write_old_student(tmp_path / "robot.safetensors").with_suffix(".onnx")
    export_student(load_model(old.with_suffix(".safetensors")), old, {}, {}, {})
    config = update_run(data, old, steps=2)
    config.data.roots = [DataRoot(root=str(data), version=VERSION, scenes=[OLD_SCENE])]
    config.data.pseudo.thresholds = str(sure_of_cars(tmp_path, teacher))
    config.continual.buffer, config.distill.teacher = BufferConfig(least=1), str(teacher)
    config.continual.blend_share = 0.5
    driven = DataRoot(root=str(data), version=VERSION, scenes=[NEW_SCENE])
    inputs = LoopInputs(config, driven, {"east": driven}, tmp_path / "work")
    buffer = BufferConfig(keyframes=4, least=1)
    engine = EngineChoice("onnxruntime", 1)
    settings = LoopSettings(rate=0.2, engine=engine, recorder=RECORDER, buffer=buffer, allowed_loss=0.99)
    sentences = []
    result = run_loop(inputs, settings, sentences.append)
    assert result.kept > 0 and result.first.lost == 0 and not result.gate.refused
    new = load_student(tmp_path / "work" / "update" / "robot.onnx")
    names = [load_student(old).model_id, new.model_id]
    assert new.spec.provenance["blend_share"] == "0.5"
    assert result.second.result.done and result.second.models == names
    assert result.second.lost == 0, [(drive.lost, drive.reasons) for drive in result.second.drives]
    assert any("holds" in sentence and "earlier, east" in sentence for sentence in sentences)
