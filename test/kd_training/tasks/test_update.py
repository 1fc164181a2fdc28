"""An update: begins as the old student, ignores what nobody labelled, goes on bit by bit after a kill, and refuses what
does not fit before anything is changed."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import student_run, write_teacher
from support.updates import update_run, write_buffer, write_old_student

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_training.batches.processes import ALONE
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, load_state
from kd_training.config.experiment import TrainConfig
from kd_training.data.augment import AS_IT_IS
from kd_training.data.batches import build_sampler
from kd_training.data.frames import facts_of
from kd_training.data.replay_buffer import replay_probabilities
from kd_training.evaluation.student import StudentDetector
from kd_training.loop.train import train
from kd_training.models.students import build_student
from kd_training.tasks import build_task
from kd_training.tasks.task import MicroStep
from kd_training.unlabelled.by_old_student import find_lacking

CAR, TRUCK, BUS, BARRIER = (NUSCENES.label(name) for name in ("car", "truck", "bus", "barrier"))
NOW = MicroStep(0, 0, ALONE)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    return write_old_student(tmp_path_factory.mktemp("old") / "old.safetensors")


@pytest.fixture(scope="module")
def buffer(data, tmp_path_factory) -> Path:
    return write_buffer(data, tmp_path_factory.mktemp("buffer") / "buffer")


def replaying(config: TrainConfig, buffer: Path) -> TrainConfig:
    config.continual.replay.folder = str(buffer)
    return config


def test_an_old_student_asked_of_replayed_rigs_alone_gives_the_losses_of_one_asked_of_all(data, old, buffer):
    """Unless the new labels lack one of its classes: then all rigs are asked."""
    config = replaying(update_run(data, old), buffer)
    config.schedule.batch, config.continual.keep.foreground = 4, 0.02
    config.continual.temperature.elastic = False  # it would take in the first answer
    task = build_task(config)
    task.begin(None)
    task.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for value in task.model.parameters():
            value += 0.1 * value.abs().mean() * torch.randn_like(value)
    batch = task.batches(RunPlan(steps=1))[0]
    assert 0 < batch.replayed.rigs < batch.inputs.rigs
    few = task(batch, NOW).task
    batch.replayed = None
    everywhere = task(batch, NOW).task
    assert few.keys() == everywhere.keys() and few["kept/heatmap"] > 0.0
    for name, value in few.items():
        torch.testing.assert_close(value, everywhere[name], rtol=1e-4, atol=1e-6)
    config.continual.labelled = ["car"]
    assert not config.continual.hears_replayed_alone(NUSCENES.names)


def groups(*numbers: int) -> ClassList:
    """nuScenes' head groups of these numbers."""
    return ClassList(tuple(NUSCENES.groups[number] for number in numbers))


def few(*numbers: int) -> dict:
    """The same, as a configuration has them."""
    return msgspec.to_builtins(groups(*numbers))


def test_an_interrupted_and_resumed_update_is_bit_exact(data, old, buffer, tmp_path, monkeypatch):
    """With a LiDAR teacher, a buffer, and every part of what is kept; temperatures go on where they were. Old weights
    are blended into what is written, once, and never into what trains."""
    teacher = write_teacher(tmp_path / "teacher.safetensors")
    config = replaying(update_run(data, old), buffer)
    config.distill.teacher, config.continual.dark.logits, config.continual.blend_share = str(teacher), 0.5, 0.5
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert train(config, straight)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert not train(config, resumed)
    for _ in range(2):  # the second finds everything done
        assert train(config, resumed, resume=True)
    states = [load_state(folder, config) for folder in (straight, resumed)]
    drifts = [state["task"]["keeping"]["drift"] for state in states]
    assert drifts[0].any() and torch.equal(*drifts)
    weights = [load_file(folder / WEIGHTS_FILE) for folder in (straight, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    before, moved = load_file(old), 0
    for state in states:
        for name, value in {**state["model"], **state["ema"]}.items():
            assert torch.equal(state["model"][name], states[0]["model"][name])
            moved += not torch.equal(value, before[name])
            expected = (before[name] + value) / 2 if value.is_floating_point() else value
            torch.testing.assert_close(weights[0][name], expected)
    assert moved
    task = build_task(config)
    task.old.digest = "another"
    with pytest.raises(ConfigError, match="continual.student .* has other weights than when this update began"):
        task.set_extra_state(states[0]["task"])


def test_it_begins_as_the_old_student_and_leaves_that_one_alone(data, old, buffer):
    config = replaying(update_run(data, old), buffer)
    config.distill.inherit_head = True
    task = build_task(config)
    task.begin(None)
    given = load_file(old)
    assert all(torch.equal(value, given[name]) for name, value in task.model.state_dict().items() if name in given)
    task.train()
    losses = task(task.batches(RunPlan(steps=1))[0], NOW)
    assert {"heatmap", "box", "depth", "kept/heatmap", "kept/boxes", "kept/pre_head"} == losses.task.keys()
    task.total(losses, NOW).backward()
    frozen = task.old.model
    assert not frozen.training and all(value.grad is None for value in frozen.parameters())
    assert all(torch.equal(value, given[name]) for name, value in frozen.state_dict().items())
    assert not {id(value) for value in task.parameters()} & {id(value) for value in frozen.parameters()}
    assert {"temperature/car", "drift/traffic_cone"} <= task.figures().keys()
    with pytest.raises(ConfigError, match="an update begins from continual.student; leave out --weights"):
        task.begin(old)


def test_switches_make_the_baselines(data, old, buffer):
    """Fine-tuning, replay alone, LwF alone, DER++: configurations only."""
    switches = {
        "fine-tuning": ({"keep": {"weight": 0.0}}, {"heatmap", "box", "depth"}),
        "lwf": (
            {"keep": {"boxes": 0.0, "features": 0.0, "foreground": 0.0}, "temperature": {"elastic": False}},
            {"heatmap", "box", "depth", "kept/heatmap"},
        ),
        "der++": ({"keep": {"weight": 0.0}, "dark": {"logits": 0.5}}, {"heatmap", "box", "depth", "dark"}),
    }
    for name, (changes, expected) in switches.items():
        config = update_run(data, old, steps=1)
        for section, values in changes.items():
            for key, value in values.items():
                setattr(getattr(config.continual, section), key, value)
        if name == "der++":
            config = replaying(config, buffer)
        task = build_task(config)
        asked = []
        task.old.outputs = lambda inputs, answer=task.old.outputs, asked=asked: asked.append(None) or answer(inputs)
        assert task(task.batches(RunPlan(steps=1))[0], NOW).task.keys() == expected, name
        assert bool(asked) == (name != "fine-tuning")


def test_a_share_is_replayed_by_its_scores_and_weighs_the_inverse(data, old, buffer):
    config = replaying(update_run(data, old), buffer)
    config.continual.replay.share, config.continual.replay.weight = 0.25, 2.0
    task = build_task(config)
    sampler = build_sampler(task.frames, config)
    drawn = [sampler.at(position, np.random.default_rng([0, position])) for position in range(2000)]
    is_old = [frame.key in task.learns.replayed for frame in drawn]
    for start in range(0, 40, 4):
        assert sum(is_old[start : start + 4]) == 1
    replayed = [frame for frame in drawn if frame.key in task.learns.replayed]
    expected = replay_probabilities(np.array([0.5, 1.0, 1.5]))
    weights = {}
    tokens = [facts.key for facts in facts_of(task.frames) if facts.drawn is not None]
    for key, probability in zip(tokens, expected, strict=True):
        share = np.mean([frame.key == key for frame in replayed])
        assert share == pytest.approx(probability, abs=0.07)
        weights[key] = next(frame.weight for frame in replayed if frame.key == key)
        assert weights[key] == pytest.approx(2.0 / (3 * probability))
    assert np.mean([frame.weight for frame in replayed]) == pytest.approx(2.0, rel=0.05)  # the loss keeps its scale
    config.continual.replay.importance = False
    assert {frame.weight for frame in build_task(config).frames} == {1.0, 2.0}


def test_the_lidar_teacher_looks_at_new_keyframes_alone(data, old, buffer, tmp_path):
    config = replaying(update_run(data, old, batch=2), buffer)
    config.distill.teacher = str(write_teacher(tmp_path / "teacher.safetensors"))
    task = build_task(config).learns
    batch = task.batches(RunPlan(steps=1))[0]
    (new,) = [number for number, shown in enumerate(batch.shown) if shown.key not in task.replayed]
    assert set(batch.points.rig.tolist()) == {new}  # clouds of the others are not read at all
    with torch.no_grad():
        outputs = task.model.eval().train_forward(batch.inputs)

    def terms(changed: int) -> dict[str, float]:
        """Of outputs that are twice as large for one rig."""
        factor = torch.ones(2, 1, 1, 1)
        factor[changed] = 2.0
        doubled = outputs._replace(
            heatmap=outputs.heatmap * factor,
            features={name: value * factor for name, value in outputs.features.items()},
        )
        return {name: float(value.detach()) for name, value in task.losses_of(doubled, batch, NOW).terms.items()}

    alone, other = terms(1 - new), terms(new)
    assert alone.keys() == other.keys() and all(alone[name] != other[name] > 0.0 for name in alone)
    undoubled = task.losses_of(outputs, batch, NOW)
    assert {name: float(value.detach()) for name, value in undoubled.terms.items()} == alone
    task.replayed = frozenset(shown.key for shown in batch.shown)  # a batch without anything new
    assert not any(terms(new).values()) and undoubled.task.keys() == task.losses_of(outputs, batch, NOW).task.keys()


def test_a_batch_of_replayed_keyframes_has_their_clouds(data, old, buffer, tmp_path):
    config = replaying(update_run(data, old, batch=1), buffer)
    config.distill.teacher = str(write_teacher(tmp_path / "teacher.safetensors"))
    task = build_task(config).learns
    batches = [task.batches(RunPlan(steps=4))[step] for step in range(4)]
    assert {batch.shown[0].key in task.replayed for batch in batches} == {True, False}
    assert all(len(batch.points.points) for batch in batches)


def test_new_classes_join_and_old_labels_say_nothing_of_them(data, tmp_path):
    """The old student knows cars and buses, the new labels only trucks and barriers."""
    old = write_old_student(tmp_path / "old.safetensors", classes=few(0, 2))
    buffer = write_buffer(data, tmp_path / "buffer", groups(0, 2))
    config = replaying(update_run(data, old), buffer)
    config.model.classes = few(0, 1, 2, 3)
    config.continual.labelled, config.continual.lacking.boxes = ["truck", "construction_vehicle", "barrier"], False
    task = build_task(config)
    task.begin(None)
    batch = task.batches(RunPlan(steps=1))[0]
    names = task.model.spec.classes.names
    for rig, shown in enumerate(batch.shown):
        is_old = shown.key in task.learns.replayed
        known = ("car", "bus", "trailer") if is_old else config.continual.labelled
        for label, name in enumerate(names):
            cells = batch.ground_truth.trust.cells[rig, label]
            assert (cells > 0).all() if name in known else not cells.any(), (is_old, name)
        assert {names[label] for label in batch.ground_truth.boxes[rig].label} <= set(known)
    assert {shown.key in task.learns.replayed for shown in batch.shown} == {True, False}
    before = task.old.model.eval()
    bev = torch.randn(1, 16, 32, 32)
    torch.testing.assert_close(task.model.eval().head(bev)[0][:, 0], before.head(bev)[0][:, 0], rtol=0, atol=0)
    task.train()
    task.total(task(batch, NOW), NOW).backward()
    config.model.classes = few(1, 2, 3)
    with pytest.raises(ConfigError, match="the old student detects car, which model.classes lacks"):
        build_task(config)


def bus_ahead(detector: StudentDetector, score: float) -> tuple[np.ndarray, np.ndarray]:
    """What a student answers that sees a bus 5 m ahead."""
    grid, classes = detector.grid, detector.classes
    heatmap = np.zeros((len(classes), *grid.shape), np.float32)
    regression = np.zeros((len(classes.groups), len(detector.coding.names), *grid.shape), np.float32)
    column, row = np.floor(grid.to_cells(np.array([[5.2, 0.4]]))).astype(int)[0]
    heatmap[classes.label("bus"), row, column] = score
    return heatmap, regression


@pytest.mark.parametrize(("score", "boxes", "doubtful"), [(0.8, 1, 0), (0.3, 0, 9), (0.05, 0, 0)])
def test_the_old_student_stands_in_for_labels_that_lack(data, tmp_path, monkeypatch, score, boxes, doubtful):
    """Sure: a box; unsure: doubt around it; else background. Classes nobody knows are in doubt everywhere."""
    monkeypatch.setattr(StudentDetector, "outputs", lambda detector, frame: bus_ahead(detector, score))
    config = update_run(data, write_old_student(tmp_path / "old.safetensors", classes=few(0, 2)))
    config.model.classes, config.continual.labelled = few(0, 1, 2, 3), ["truck", "car"]
    config.continual.lacking.folder, config.data.augment = str(tmp_path / "labels"), AS_IT_IS
    told = find_lacking(config)
    assert f"{3 * boxes} bus" in told and not find_lacking(config)
    task = build_task(config)
    batch, names = task.batches(RunPlan(steps=1))[0], task.model.spec.classes.names
    cells, bus = batch.ground_truth.trust.cells[0], names.index("bus")
    assert (batch.ground_truth.boxes[0].label == bus).sum() == boxes
    assert (cells[bus] == 0).sum() == doubtful
    assert not cells[names.index("barrier")].any() and cells[names.index("truck")].all()
    config.continual.lacking.sure = 0.9
    assert "bus" in find_lacking(config)  # other settings, other labels


def test_what_does_not_fit_is_refused(data, old, buffer, tmp_path):
    def refused(error: type, message: str, change) -> None:
        config = replaying(update_run(data, old), buffer)
        change(config)
        with pytest.raises(error, match=message):
            build_task(config)

    def at(path: str, value: object):
        def change(config: TrainConfig) -> None:
            *sections, name = path.split(".")
            for section in sections:
                config = getattr(config, section)
            setattr(config, name, value)

        return change

    refused(ConfigError, "'east' has boxes on 3 of 3 keyframes, too few to learn", at("continual.buffer.least", 4))
    refused(ConfigError, "weights .*gone.safetensors do not exist", at("continual.student", "gone.onnx"))
    refused(ConfigError, "continual.keep.features is -1", at("continual.keep.features", -1.0))
    refused(ConfigError, "continual.blend_share is 0;", at("continual.blend_share", 0.0))
    refused(ConfigError, "continual.replay.share is 1;", at("continual.replay.share", 1.0))
    refused(ConfigError, "labelled names 'tram', which is no class", at("continual.labelled", ["tram"]))
    refused(ConfigError, "layers names 'neck'; the student's layers are enter", at("continual.keep.layers", ["neck"]))
    refused(ConfigError, "has another view than the model", at("model.view.depth_bins", 8))
    refused(DataError, "holds no replay buffer", at("continual.replay.folder", str(tmp_path)))
    config = update_run(data, old)
    config.continual.dark.logits = 1.0
    with pytest.raises(ConfigError, match="name their buffer in continual.replay.folder"):
        build_task(config)
    memory = update_run(data, write_old_student(tmp_path / "memory.safetensors", frames=2))
    with pytest.raises(ConfigError, match="has another memory than"):
        build_task(memory)


def test_labels_that_contradict_themselves_are_refused(data, old, tmp_path):
    """Every car is labelled once more, as a truck."""
    root = tmp_path / "data"
    (root / VERSION).mkdir(parents=True)
    tables = {path.stem: json.loads(path.read_text()) for path in (data / VERSION).iterdir()}
    category = {row["name"]: row["token"] for row in tables["category"]}
    cars = {row["token"] for row in tables["instance"] if row["category_token"] == category["vehicle.car"]}
    twins = [row for row in tables["sample_annotation"] if row["instance_token"] in cars]
    named = ("token", "instance_token", "prev", "next")
    tables["sample_annotation"] += [
        {key: f"twin-{value}" if key in named and value else value for key, value in row.items()} for row in twins
    ]
    tables["instance"] += [
        {
            **row,
            "token": f"twin-{row['token']}",
            "category_token": category["vehicle.truck"],
            "first_annotation_token": f"twin-{row['first_annotation_token']}",
            "last_annotation_token": f"twin-{row['last_annotation_token']}",
        }
        for row in tables["instance"]
        if row["token"] in cars
    ]
    for name, rows in tables.items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(rows))
    for folder in ("samples", "sweeps"):
        (root / folder).symlink_to(data / folder)
    config = update_run(root, old)
    config.continual.lacking.boxes = False
    for labelled in ([], ["car", "truck"]):  # the others are in doubt, these are a human's all the same
        config.continual.labelled = labelled
        with pytest.raises(
            DataError, match=r"3 keyframes of domain 'east' contradict themselves: a car and a truck at"
        ):
            build_task(config)


def test_a_student_gains_a_memory_in_an_update(data, old, tmp_path):
    config = update_run(data, old, steps=2, frames=2)
    assert train(config, tmp_path)
    assert "fusion.output.weight" in load_file(tmp_path / WEIGHTS_FILE)
    assert load_file(old).keys() == build_student(student_run(data).model).state_dict().keys()
