"""Domains: no scene is in two sets, each condition is what its name says, and the commands render just that."""

import shlex
from pathlib import Path

from kd_bench.continual.domains import (
    CITIES,
    FIVE_FIVE,
    HELD_OUT_SCENES,
    LEAST_BOXES,
    SEQUENCES,
    WORLDS,
    plans_of,
    shortages,
    synth_commands,
)
from kd_bench.distill.splits import PLANS
from kd_bench.ledger.splits import Split
from kd_perception.geometry.classes import CLASSES
from kd_training.config.sections import DataRoot

DOCUMENTED_SEEDS = {100, 900, 5000, 4321, 31, 931}  # of commands in the docs, and of other benches


def made_split(scenes: int = 4, boxes: int = 100) -> Split:
    names = tuple(f"scene {number}" for number in range(scenes))
    return Split(DataRoot(root="somewhere", version="v"), "id", names, 20 * scenes, dict.fromkeys(CLASSES, boxes))


def test_no_seed_is_used_twice():
    seeds = [plan.seed for plan in plans_of(WORLDS).values()]
    assert len(set(seeds)) == len(seeds) == 2 * len(WORLDS)
    assert not set(seeds) & (DOCUMENTED_SEEDS | {plan.seed for plan in PLANS.values()})


def test_worlds_are_what_their_names_say_and_24_scenes_are_held_out():
    looks = [str(world.train.config(Path("x"), 1).conditions(0)) for world in WORLDS]
    assert looks == [str(world.held_out.config(Path("x"), 1).conditions(0)) for world in WORLDS]
    assert len(set(looks)) == len(CITIES.worlds) == 4 and CITIES.names == ("city_a_day", "city_b_day", "night", "rain")
    assert sum(world.held_out.scenes for world in CITIES.worlds) == 24


def test_classes_come_five_by_five_from_different_scenes_of_one_world():
    first, second = FIVE_FIVE.domains
    assert len(first.classes) == len(second.classes) == 5 and {*first.classes, *second.classes} == set(CLASSES)
    split = made_split()
    assert first.source(split).scenes == ["scene 0", "scene 1"]
    assert second.source(split).scenes == ["scene 2", "scene 3"] and second.keyframes(split) == 40
    assert FIVE_FIVE.keyframes({first.world.train_name: split}) == 80
    assert CITIES.domains[0].source(split) == split.source
    assert all(len(sequence.domains) >= 2 for sequence in SEQUENCES)


def test_the_commands_render_the_plans_and_night_comes_last():
    commands = synth_commands(Path("out/data"), 2)
    assert len(commands) == 10 and all("--light night" in command for command in commands[-2:])
    words = shlex.split(next(command for command in commands if "city_b_day_val" in command))
    given = dict(zip(words, words[1:], strict=False))
    assert (given["--city"], given["--seed"], given["--scenes"]) == ("B", "22500", str(HELD_OUT_SCENES))
    assert "--light" not in words and given["--out"] == "out/data/city_b_day_val"


def test_classes_with_few_boxes_are_named():
    splits = {"night_val": made_split(HELD_OUT_SCENES, LEAST_BOXES - 1), "rain_val": made_split(HELD_OUT_SCENES)}
    (sentence,) = shortages(splits)
    assert sentence.startswith(f"night: fewer than {LEAST_BOXES} boxes of: car 59")
