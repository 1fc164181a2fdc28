"""`kd bench scheduling`: several rigs in one call give what each gives alone, and images repeat as rates say."""

from dataclasses import replace

import numpy as np
import pytest
from support.tiny_runs import student_run

from kd_bench.options import EngineChoice
from kd_bench.scheduling.cli import batch_rows
from kd_bench.scheduling.measure import PAIR, repeated_share, time_cameras, time_densities
from kd_bench.scheduling.rigs_at_once import write_rigs_file
from kd_perception.engines.base import open_engine
from kd_perception.errors import StudentError
from kd_perception.student.spec import load_student
from kd_training.checkpoints.checkpoint import save_weights
from kd_training.checkpoints.export import export_student
from kd_training.models.students import build_student


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A tiny student, next to weights of one with memory."""
    folder = tmp_path_factory.mktemp("tiny")
    for frames in (2, 1):
        config = student_run(folder, frames=frames)
        model = build_student(config.model)
        save_weights(model.state_dict(), config, folder / f"{frames}.safetensors")
    export_student(model, folder / "1.onnx", {}, {}, {})
    return load_student(folder / "1.onnx")


def test_rigs_in_one_call_find_what_each_finds_alone(student, tmp_path):
    def outputs(rigs, images):
        written = write_rigs_file(student, rigs, tmp_path)
        engine = open_engine("onnxruntime", written.file, written.cameras)
        return {name: array.copy() for name, array in engine.run({**written.example.by_name, "images": images}).items()}

    noise = write_rigs_file(student, 1, tmp_path).example.by_name["images"]
    alone = [outputs(1, images) for images in (noise, 255 - noise)]
    together = outputs(2, np.concatenate([noise, 255 - noise]))
    for name, both in together.items():
        assert (alone[0][name] != alone[1][name]).any()
        for one, found in zip(alone, both, strict=True):
            np.testing.assert_allclose(found, one[name][0], atol=1e-6)
    with pytest.raises(StudentError, match="give a single-frame pull student"):
        write_rigs_file(replace(student, path=student.path.with_name("2.onnx")), 1, tmp_path)


def test_an_image_stays_where_its_camera_is_slower_than_the_anchor():
    assert repeated_share(10.0, 10.0, 0.06, 0.1) == repeated_share(12.0, 12.0, 0.06, 0.1) == (0.0, 0.0)
    repeated, missing = repeated_share(20.0, 10.0, 0.06, 0.1)
    assert abs(repeated - 0.5) < 0.01 and missing < 0.01
    assert repeated_share(10.0, 20.0, 0.06, 0.1)[0] == 0.0


def test_everything_is_timed_in_turns_and_rigs_are_counted(student):
    assert set(time_cameras(student, EngineChoice("onnxruntime", 1), 3, 2)) == {"3 cameras", "2 cameras"}
    assert [len(times) for times in time_densities(student.spec, (0, 5), 3).values()] == [3, 3]
    rows = batch_rows({"1 rig": [10.0], "2 rigs in one call": [16.0], PAIR: [25.0]})
    assert [row[2:] for row in rows] == [("10.0", "1.00 x"), ("8.0", "1.25 x"), ("12.5", "0.80 x")]
