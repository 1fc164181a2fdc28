"""Keyframes on demand are those that were read at once, and what is asked of all of them needs none of them."""

from dataclasses import replace

import numpy as np
import pytest
from support.nuscenes_tables import SCENES, VERSION, four_and_seven, without_rows, write_dataset

from kd_perception.datasets.nuscenes import scene_samples
from kd_training.config.sections import DataRoot
from kd_training.data import frames as module
from kd_training.data.frame_checks import check_depth_labels, what_is_masked
from kd_training.data.frames import KeyFrames, facts_of, open_dataset, open_frames
from kd_training.data.sampling import frame_weights
from kd_training.tasks.plan import epoch_samples


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> DataRoot:
    """Two rigs; one camera and one LiDAR are absent in some samples."""
    root = write_dataset(tmp_path_factory.mktemp("data"), rigs=four_and_seven())
    return DataRoot(root=str(without_rows(root, "samples/cam3/")), version=VERSION)


@pytest.fixture
def frames(source) -> KeyFrames:
    return open_frames([source, replace(source, scenes=(SCENES[1], SCENES[0], SCENES[1]))])


def test_facts_are_those_of_the_frames(frames):
    for facts, frame in zip(frames.facts, frames, strict=True):
        own = frame.facts
        np.testing.assert_array_equal(facts.present, own.present)
        assert replace(facts, present=None) == replace(own, present=None) and facts.key == frame.key
    assert len({facts.masked for facts in frames.facts}) > 1
    read = tuple(frames)
    np.testing.assert_array_equal(frame_weights(frames), frame_weights(read))
    assert epoch_samples(frames, balanced=True) == epoch_samples(read, balanced=True)
    assert what_is_masked(frames) == what_is_masked(read)


def test_frames_are_in_the_order_of_the_scenes_and_can_be_sliced(frames, source):
    first = open_dataset(source)
    tokens = {scene: scene_samples(first.nusc, scene) for scene in SCENES}
    expected = [token for scene in (*SCENES, SCENES[1], SCENES[0], SCENES[1]) for token in tokens[scene]]
    assert [frame.frame.sample_token for frame in frames] == expected
    assert [frame.key for frame in frames[1:3]] == [frames[1].key, frames[2].key] and frames[-1] is frames[-1]
    with pytest.raises(IndexError):
        frames[len(frames)]


def test_few_frames_stay_in_memory_and_questions_about_all_make_none(frames, monkeypatch):
    made = []
    real = module.load_frame
    monkeypatch.setattr(module, "load_frame", lambda nusc, token: made.append(token) or real(nusc, token))
    facts_of(frames)
    frame_weights(frames)
    epoch_samples(frames, balanced=True)
    check_depth_labels(frames)
    what_is_masked(frames)
    assert not made and len(frames.moments) == len(SCENES) * 2
    assert frames[0] is frames[0] and len(made) == 1
