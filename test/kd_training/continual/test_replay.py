"""Replayed keyframes in a training: the share of a batch, how often each is drawn, and what it counts."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.tiny_runs import student_run

from kd_perception.errors import ConfigError
from kd_training.batches.run_plan import RunPlan
from kd_training.config.continual import BufferConfig, ContinualConfig, ReplayConfig
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import DataRoot
from kd_training.continual.buffer import OfferedDomain, add_domain
from kd_training.continual.importance import BufferCandidate, most_important, rarities
from kd_training.continual.reservoir import reservoir_slots
from kd_training.data.batches import build_sampler
from kd_training.data.frames import open_frames
from kd_training.data.replay_buffer import read_buffer, replay_probabilities, replay_weights
from kd_training.tasks import build_task

DAY, NIGHT = SCENES


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"), samples=4)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("buffer")
    day = open_frames([DataRoot(root=str(data), version=VERSION, scenes=[DAY])])
    add_domain(target, OfferedDomain("day", day, np.array([0.1, 0.4, 0.9, 0.4])), BufferConfig(keyframes=4, least=2))
    return target


def night_run(data: Path, folder: Path, *, frames: int = 1, **replay) -> TrainConfig:
    """The night is learnt, the day replayed."""
    config = student_run(data, frames=frames)
    config.data.roots = [DataRoot(root=str(data), version=VERSION, scenes=[NIGHT])]
    return replace(config, continual=ContinualConfig(replay=ReplayConfig(str(folder), **replay)))


def test_a_share_of_every_batch_is_replayed_by_score(data, folder):
    config = night_run(data, folder, share=0.5)
    task = build_task(config)
    sampler, buffer = build_sampler(task.frames, config), read_buffer(folder)
    assert len(task.frames) == 8
    drawn = [sampler.at(position, np.random.default_rng(position)) for position in range(2000)]
    replayed = drawn[1::2]
    assert {frame.frame.scene for frame in drawn[::2]} == {NIGHT} and all(f.weight == 1.0 for f in drawn[::2])
    counts = Counter(frame.frame.sample_token for frame in replayed)
    scores = np.array([entry.score for entry in buffer.entries])
    expected = np.sqrt(scores) / np.sqrt(scores).sum()
    found = np.array([counts[entry.sample] for entry in buffer.entries]) / len(replayed)
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert np.mean([frame.weight for frame in replayed]) == pytest.approx(1.0, abs=0.05)
    for entry in buffer.entries:
        weights = {frame.weight for frame in replayed if frame.frame.sample_token == entry.sample}
        (weight,) = weights
        assert weight == pytest.approx(1.0 / (4 * expected[list(buffer.by_sample).index(entry.sample)]))


def test_without_importance_all_are_drawn_alike_and_count_alike(data, folder):
    config = night_run(data, folder, share=0.25, importance=False)
    frames = build_task(config).frames
    assert {frame.weight for frame in frames} == {1.0}
    sampler = build_sampler(frames, config)
    kinds = [sampler.at(k, np.random.default_rng(k)).frame.scene == NIGHT for k in range(40)]
    assert [sum(kinds[k : k + 4]) for k in range(0, 40, 4)] == [3] * 10


def test_a_student_with_memory_sees_what_came_before_and_its_loss_has_the_weight(data, folder):
    config = night_run(data, folder, frames=2, share=0.5)
    config.data.augment.memory_drop = 0.0
    task = build_task(config)
    batch = task.batches(RunPlan(steps=9))[3]
    weight = task.frames[[facts.key for facts in task.frames.facts].index(batch.shown[1].key)].weight
    assert weight != 1.0
    cells = batch.ground_truth.trust.cells
    assert torch.unique(cells[0]).tolist() == [1.0] and torch.unique(cells[1]).tolist() == pytest.approx([weight])
    valid = [float(task.batches(RunPlan(steps=9))[k].inputs.previous.valid[1]) for k in range(9)]
    assert sum(valid) >= 5, "all but the scene's first keyframe brought a neighbour"


def test_there_must_be_something_new(data, folder):
    config = night_run(data, folder)
    config.data.roots = []
    with pytest.raises(ConfigError, match="all keyframes are replayed and none is new"):
        build_task(config).batches(RunPlan(steps=1))[0]


def test_a_reservoir_is_even_and_takes_domains_one_by_one_as_at_once():
    kept = Counter()
    for seed in range(200):
        at_once = reservoir_slots(0, 30, 6, seed)
        in_parts = reservoir_slots(0, 11, 6, seed) | reservoir_slots(11, 19, 6, seed)
        assert at_once == in_parts and len(at_once) == 6
        kept.update(at_once.values())
    assert set(kept) == set(range(30)) and np.std(list(kept.values())) < 2.0 * np.sqrt(40.0 * 0.8)
    assert reservoir_slots(0, 3, 6, 0) == {0: 0, 1: 1, 2: 2}


def test_importance_is_shared_by_domains_and_classes():
    cars = [BufferCandidate(k, "day", ("car",), 10.0 + k, f"{k}") for k in range(8)]
    bus = BufferCandidate(8, "day", ("bus", "car"), 0.1, "8")
    night = [BufferCandidate(9 + k, "night", ("car",), 0.01, f"{9 + k}") for k in range(3)]
    empty = BufferCandidate(12, "night", (), 0.001, "12")
    chosen = most_important([*cars, bus, *night, empty], 5)
    assert chosen[8] == ("day", "bus") and chosen[12] == ("night", "no object")
    assert 7 in chosen and {name for name in chosen if 9 <= name < 12} == {9, 10}
    assert most_important(cars, 99) == dict.fromkeys(range(8), ("day", "car")) and most_important([], 3) == {}


def test_what_is_important_is_spread_over_scenes_and_time():
    """Four scenes of ten keyframes: alike they share evenly, far apart in time; a clearly better one has more."""

    def chosen(score, count) -> list[int]:
        many = [BufferCandidate(k, "day", ("car",), score(k), "abcd"[k // 10]) for k in range(40)]
        return sorted(most_important(many, count))

    assert chosen(lambda k: 1.0, 4) == [0, 10, 20, 30]
    assert chosen(lambda k: 1.0, 8) == [0, 9, 10, 19, 20, 29, 30, 39]
    assert chosen(lambda k: 0.0, 8) == chosen(lambda k: 1.0, 8)
    assert min(np.diff(chosen(lambda k: 1.0, 12))) == 1, "the end of a scene and the start of the next are apart"
    for scene in range(4):
        assert min(np.diff([k for k in chosen(lambda k: 1.0, 12) if k // 10 == scene])) >= 4
    shares = np.bincount([k // 10 for k in chosen(lambda k: 4.0 if k < 10 else 1.0, 8)], minlength=4)
    assert shares[0] == 5 and (shares[1:] == 1).all()
    falling = chosen(lambda k: 1.0 - 0.01 * k, 8)
    assert (np.bincount([k // 10 for k in falling]) == 2).all(), "a slight difference decides within a scene only"


def test_rare_classes_make_a_keyframe_rare():
    present = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [0, 0]], bool)
    rarity = rarities(present)
    assert rarity[3] == pytest.approx((1 / np.sqrt(0.8) + 1 / np.sqrt(0.2)) / 2) and rarity[4] == 1.0
    assert rarity[0] == rarity[1] < rarity[3]


def test_draws_and_weights_make_the_mean_of_the_buffer():
    scores, losses = np.array([4.0, 1.0, 0.0, 0.25]), np.array([1.0, 7.0, 3.0, 2.0])
    drawn = replay_probabilities(scores)
    assert drawn[0] == pytest.approx(2 * drawn[1]) and drawn[2] > 0.0 and drawn.sum() == pytest.approx(1.0)
    assert (drawn * replay_weights(drawn) * losses).sum() == pytest.approx(losses.mean())
    np.testing.assert_allclose(replay_probabilities(np.zeros(3)), 1 / 3)
