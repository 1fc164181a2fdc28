"""A model configuration as a student file's specification."""

from dataclasses import replace

import pytest

from kd_perception.errors import ConfigError, StudentError
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, SHIPPED_STUDENT, resource
from kd_perception.student.spec import load_student
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.sections import GridConfig, ModelConfig, TemporalConfig, ViewConfig
from kd_training.config.student_spec import student_spec

GREY = (127.5, 127.5, 127.5)


@pytest.mark.parametrize("file", [SHIPPED_STUDENT, SHIPPED_SINGLE_FRAME_STUDENT])
def test_the_configuration_of_shipped_weights_gives_the_metadata_of_the_shipped_file(file: str) -> None:
    path = resource(file)
    shipped = load_student(path).spec
    spec = student_spec(checkpoint_config(path.with_suffix(".safetensors")).model, GREY, GREY)
    measured = replace(spec, provenance=shipped.provenance, accuracy=shipped.accuracy, latency_ms=shipped.latency_ms)
    assert measured.to_json() == shipped.to_json()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"view": ViewConfig(kind="teleport")}, "model m: view transform 'teleport' is unknown"),
        ({"view": ViewConfig(stride=7)}, "model m: image size .* is not a multiple of the feature stride 7"),
        ({"view": ViewConfig(stride=0)}, "model m: .* must all be above 0"),
        ({"temporal": TemporalConfig(frames=3)}, "model m: 3 temporal frames"),
        ({"temporal": TemporalConfig(frames=2, interval=5.0)}, "model m: its memory's intervals must rise"),
    ],
)
def test_values_that_do_not_fit_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(StudentError, match=sentence):
        student_spec(ModelConfig(name="m", **change), GREY, GREY)


def test_a_grid_of_broken_cells_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"not a whole number of 0\.7 m cells; change grid\.extent"):
        student_spec(ModelConfig(name="m", grid=GridConfig(51.2, 0.7)), GREY, GREY)
