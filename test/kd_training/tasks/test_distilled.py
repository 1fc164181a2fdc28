"""A distilled student's run: bit-exact after an interruption, adapters never shipped, kept outputs equal to fresh ones;
and what does not fit is named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import write_dataset
from support.tiny_runs import distilled_run, label_run, student_run, write_teacher
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kd_perception.errors import ConfigError, DataError
from kd_training.batches.processes import ALONE
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, load_state
from kd_training.config.distill import LabelFeatureConfig
from kd_training.config.sections import AugmentConfig, GridConfig
from kd_training.distill.distiller import Distiller
from kd_training.loop.forward_backward import TrainingError
from kd_training.loop.train import train
from kd_training.models.students import build_student
from kd_training.tasks import build_task
from kd_training.tasks.task import MicroStep


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


@pytest.fixture(scope="module")
def encoder(data, teacher, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("labels")
    assert train(label_run(data, teacher, steps=1), out)
    return out / WEIGHTS_FILE


@pytest.fixture(scope="module")
def finished(data, teacher, tmp_path_factory) -> Path:
    """An uninterrupted run whose blend weights are set again every second step."""
    out = tmp_path_factory.mktemp("finished")
    assert train(many_terms(distilled_run(data, teacher)), out)
    return out


def many_terms(config):
    """With looks at the gradients every second step, and terms of features and boxes that are off by default."""
    config.distill.blending.refresh = 2
    for section in (config.distill.channel_groups, config.distill.volume_attention, config.distill.object_weights):
        section.weight = 1.0
    config.loss.smooth, config.loss.overlap = 0.1, 1.0
    return config


def equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def test_an_interrupted_and_resumed_run_is_bit_exact(data, teacher, finished, tmp_path, monkeypatch):
    config = many_terms(distilled_run(data, teacher))
    with monkeypatch.context() as patch:
        interrupt_at(patch, 0)  # between two looks at the gradients
        assert not train(config, tmp_path)
    assert train(config, tmp_path, resume=True)
    straight, resumed = load_state(finished, config), load_state(tmp_path, config)
    assert straight["helper"] and straight["task"]["blending"]
    for part in straight:
        assert equal(straight[part], resumed[part]), part
    weights = [load_file(folder / WEIGHTS_FILE) for folder in (finished, tmp_path)]
    assert equal(*weights)


def test_what_ships_is_the_student_alone(finished, data):
    model = build_student(student_run(data).model)
    assert load_file(finished / WEIGHTS_FILE).keys() == model.state_dict().keys()


def test_terms_weights_and_attention_are_logged(finished):
    events = EventAccumulator(str(next(finished.glob("events/**/events.out.tfevents.*")).parent))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"heatmap", "box", "overlap", "depth", "gradient_norm", "adapters_gradient_norm", "weight/task"} <= tags
    for layer in ("half", "quarter", "pre_head"):
        assert {f"weight/{term}/{layer}" for term in ("channel_groups", "volume_attention", "object_weights")} <= tags
        assert {f"distill/feature/{layer}", f"weight/feature/{layer}", f"attention_cells/{layer}"} <= tags
    assert len(events.Scalars("weight/feature/half")) == 4


def test_the_teacher_stays_as_it_was_and_gives_its_task_heads(data, teacher):
    task = build_task(distilled_run(data, teacher))
    task.begin(None)
    given = load_file(teacher)
    assert equal(dict(task.lidar_lesson.teacher.model.state_dict()), given)
    assert torch.equal(task.model.head.heatmap[0][-1].weight, given["head.heatmap.0.1.weight"])
    assert not torch.equal(task.model.head.shared[0].weight, given["head.shared.0.weight"])
    assert not task.lidar_lesson.teacher.model.training
    trained = {id(value) for value in task.parameters()}
    assert not trained & {id(value) for value in task.lidar_lesson.teacher.model.parameters()}
    assert not any(parameter.requires_grad for parameter in task.lidar_lesson.teacher.model.parameters())


def with_new_terms(config, encoder: Path):
    """Thirds, the teacher's head, standardised features and camera rays, and nothing else."""
    config.distill.feature.weight = config.distill.attention.weight = 0.0
    config.distill.pearson.weight = config.distill.cross_head.weight = config.distill.ray_contrast.weight = 1.0
    config.distill.labels = LabelFeatureConfig(encoder=str(encoder), weight=0.3, lidar=0.3)
    return config


def test_terms_that_learn_leave_teacher_and_label_encoder_as_they_were(data, teacher, encoder, tmp_path):
    """Also where the teacher's outputs are kept: the layers that these terms look at are among them."""
    config = with_new_terms(distilled_run(data, teacher, steps=1), encoder)
    task = build_task(config)
    names = ("labels/half", "lidar/half", "labels/quarter", "lidar/quarter")
    layered = ("pearson/half", "pearson/quarter", "pearson/pre_head")
    assert task.term_names == (*layered, *names, "cross_head", "ray_contrast")
    frozen = (task.lidar_lesson.teacher.model, task.distiller.labels.encoder)
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in frozen]
    task.train()
    losses = task(task.batches(RunPlan(steps=1))[0], MicroStep(0, 0, ALONE))
    sum(losses.terms.values()).backward()
    assert all(torch.isfinite(value) for value in losses.terms.values())
    assert all(equal(dict(model.state_dict()), state) for model, state in zip(frozen, before, strict=True))
    assert all(value.grad is None for model in frozen for value in model.parameters())
    assert all(value.grad is not None for value in task.distiller.parameters())
    config.data.augment, config.distill.cache_bytes = AugmentConfig(bev_rotation=0.0), 10**8
    assert train(config, tmp_path)
    task.lidar_lesson.labels.digest = "another"
    with pytest.raises(ConfigError, match="distill.labels.encoder .* has other weights than when this run began"):
        task.set_extra_state(load_state(tmp_path, config)["task"])


def test_label_features_need_an_encoder_of_the_same_teacher(data, teacher, encoder, tmp_path):
    other = write_teacher(tmp_path / "other.safetensors", seed=1)
    cases = {
        "distill.labels.encoder is '.', which is no file; train the encoder first": (teacher, Path()),
        "was trained through another teacher than tiny_teacher": (other, encoder),
        "is a teacher's .tiny_teacher.; give a label encoder's": (teacher, teacher),
    }
    for message, (weights, labels) in cases.items():
        with pytest.raises(ConfigError, match=message):
            build_task(with_new_terms(distilled_run(data, weights), labels))


def test_a_temporal_student_learns_from_the_same_teacher(data, teacher, tmp_path):
    assert train(distilled_run(data, teacher, steps=2, frames=2), tmp_path)
    assert "fusion.output.weight" in load_file(tmp_path / WEIGHTS_FILE)


def test_kept_outputs_are_those_of_a_teacher_that_runs_again(data, teacher, tmp_path):
    """Within a budget of one byte nothing is kept."""
    config = distilled_run(data, teacher, steps=5)
    config.data.augment = AugmentConfig(bev_rotation=0.0)
    outs = [tmp_path / "kept", tmp_path / "fresh"]
    for out, budget in zip(outs, (10**9, 1), strict=True):
        config.distill.cache_bytes = budget
        assert train(config, out)
    assert equal(*(load_file(out / WEIGHTS_FILE) for out in outs))


def test_outputs_are_kept_within_the_budget(data, teacher):
    config = distilled_run(data, teacher)
    config.data.augment = AugmentConfig(bev_rotation=0.0, mirror=False)
    runs = []
    for budget in (10**9, 1):
        config.distill.cache_bytes = budget
        task = build_task(config)
        outputs_of = task.lidar_lesson.teacher.outputs
        task.lidar_lesson.teacher.outputs = lambda *inputs, outputs_of=outputs_of: (
            runs.append(None) or outputs_of(*inputs)
        )
        batches = task.batches(RunPlan(steps=9))
        outputs = [task.lidar_lesson.teacher_outputs(batches[index]) for index in (0, 0)]
        assert torch.equal(outputs[0].heatmap, outputs[1].heatmap)
        assert set(outputs[0].features) == task.distiller.teacher_layers
        assert batches[0].points is None
    assert len(runs) == len({shown.key for shown in batches[0].shown}) + 2 * config.schedule.batch


def test_outputs_cannot_be_kept_where_samples_turn_at_random(data, teacher):
    config = distilled_run(data, teacher)
    config.distill.cache_bytes = 10**6
    with pytest.raises(ConfigError, match="cache_bytes.*bev_rotation 0.39 makes every sample a new one"):
        build_task(config)


def test_resume_takes_a_teacher_that_moved_and_refuses_another(data, finished, teacher, tmp_path):
    moved, other = tmp_path / "moved.safetensors", write_teacher(tmp_path / "other.safetensors", seed=1)
    moved.write_bytes(teacher.read_bytes())
    for path, refused in ((moved, False), (other, True)):
        config = many_terms(distilled_run(data, path))
        task, saved = build_task(config), load_state(finished, config)["task"]
        if refused:
            with pytest.raises(ConfigError, match="other.safetensors has other weights than when this run began"):
                task.set_extra_state(saved)
        else:
            task.set_extra_state(saved)


def test_what_is_no_teacher_is_named(data, teacher, finished, tmp_path):
    cases = {
        "absent.safetensors, which does not exist; train the teacher first": tmp_path / "absent.safetensors",
        "is a student's \\(tiny_student\\); give a teacher's": finished / WEIGHTS_FILE,
    }
    for message, path in cases.items():
        with pytest.raises(ConfigError, match=message):
            build_task(distilled_run(data, path))
    (tmp_path / "cut.safetensors").write_bytes(teacher.read_bytes()[:2000])
    with pytest.raises(DataError, match="no readable safetensors"):
        build_task(distilled_run(data, tmp_path / "cut.safetensors"))


def test_a_teacher_of_another_range_is_refused(data, tmp_path):
    wide = write_teacher(tmp_path / "wide.safetensors", grid=GridConfig(extent=25.6, cell_size=0.8))
    with pytest.raises(ConfigError, match="tiny_student covers x .*, but tiny_teacher covers x .*; give both"):
        build_task(distilled_run(data, wide))


def test_a_nan_in_a_term_names_it_and_the_last_save_stays(data, teacher, tmp_path, monkeypatch):
    compare, config = Distiller.forward, distilled_run(data, teacher, save_minutes=0.0)
    calls = []

    def spoilt(self, *inputs, **named):
        calls.append(None)
        distilled = compare(self, *inputs, **named)
        broken = {**distilled.terms, "attention/half": distilled.terms["attention/half"] * float("nan")}
        return distilled if len(calls) < 3 else distilled._replace(terms=broken)

    monkeypatch.setattr(Distiller, "forward", spoilt)
    with pytest.raises(TrainingError, match="the attention/half loss is nan at step 2"):
        train(config, tmp_path)
    assert load_state(tmp_path, config)["step"] == 2
    monkeypatch.undo()
    assert train(config, tmp_path, resume=True)
    assert all(torch.isfinite(value).all() for value in load_file(tmp_path / WEIGHTS_FILE).values())


@pytest.mark.parametrize(("change", "message"), [(b"", "empty"), (b"abcd" * 3, "truncated")])
def test_a_broken_sweep_is_named(teacher, tmp_path, change, message):
    root = write_dataset(tmp_path / "data")
    for sweep in (root / "samples" / "LIDAR_TOP").iterdir():
        sweep.write_bytes(change)
    config = distilled_run(root, teacher, steps=1)
    config.loss.depth = 0.0  # the teacher alone reads the sweep
    with pytest.raises(DataError, match=f"LIDAR_TOP.*{message}"):
        train(config, tmp_path / "out")
