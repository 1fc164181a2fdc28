"""The ledger of `kd bench distill`, paired statistics with known numbers, the arms, and the report."""

from dataclasses import fields, replace

import pytest

from kd_bench.distill.arms import (
    BLENDING,
    DISTILL,
    DISTILLBEV,
    GRID,
    GRID_SCALES,
    RECIPE,
    SUITES,
    Arm,
    rescaled,
)
from kd_bench.distill.cli import chosen_suite, weights_by_name
from kd_bench.distill.comparison import comparisons, steps_to
from kd_bench.distill.intervals import estimate, paired
from kd_bench.distill.ledger import Record, append, read_ledger
from kd_bench.distill.report import write_distill_report
from kd_bench.distill.suite_runs import CONTINUED, PARTS, START, part_step, suite_config
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import CLASSES
from kd_training.config.distill import BlendingMethod
from kd_training.config.experiment import TrainConfig, config_from_yaml, to_yaml

STEPS = 60


def record(arm: str = "none", seed: int = 0, mean_ap: float = 0.3, **changes) -> Record:
    """A finished run of bevdet on the reported split."""
    entry = Record(
        suite="main", student="bevdet", teacher="" if arm in ("none", START) else "centerpoint", arm=arm, seed=seed,
        split="val", step=STEPS, steps=STEPS, batch=8, mAP=mean_ap, NDS=mean_ap + 0.02, mATE=0.7, mASE=0.2, mAOE=1.0,
        mAVE=2.0, mAAE=0.4, AP=dict.fromkeys(CLASSES, mean_ap), truths=dict.fromkeys(CLASSES, 120), seconds=500.0,
        device="2 cores", command="kd bench distill --suite main --data /far/away/data", commit="abc",
        start="s", begins=CONTINUED, protocol="p", key="",
    )  # fmt: skip
    entry = replace(entry, **changes)
    return replace(entry, key=f"{entry.student}-{entry.arm}-{entry.seed}-{entry.split}-{entry.step}-{entry.protocol}")


def test_what_is_written_is_read_and_the_same_key_is_kept_once(tmp_path):
    path = tmp_path / "new" / "ledger.jsonl"
    append(path, [record(seed=0), record(seed=1)])
    append(path, [record(seed=1, mean_ap=0.9), record(seed=2)])
    assert read_ledger(path).records == (record(seed=0), record(seed=1), record(seed=2))
    assert read_ledger(path).torn == "" and len(path.read_text().splitlines()) == 3
    assert read_ledger(tmp_path / "none.jsonl").records == ()


def test_a_torn_last_line_is_handed_back_and_repaired_by_the_next_record(tmp_path):
    path = tmp_path / "ledger.jsonl"
    append(path, [record(seed=0), record(seed=1)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    torn = read_ledger(path)
    assert torn.records == (record(seed=0),) and torn.torn and whole.decode().splitlines()[1].startswith(torn.torn)
    append(path, [record(seed=1)])
    assert path.read_bytes() == whole


@pytest.mark.parametrize(("line", "message"), [("[1]", "not a JSON object"), ('{"suite": "main"}', "it lacks student")])
def test_a_line_that_is_no_record_is_named(tmp_path, line, message):
    path = tmp_path / "ledger.jsonl"
    append(path, [record()])
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(DataError, match=f"ledger.jsonl, line 1 is no record .*{message}"):
        read_ledger(path)


def test_intervals_are_students():
    """Mean 3, deviation sqrt(2.5), 5 seeds: 2.7764 * sqrt(2.5 / 5)."""
    found = estimate(dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0])))
    assert found.mean == pytest.approx(3.0) and found.half_width == pytest.approx(1.9632, abs=1e-4)
    assert found.clear and not estimate({0: 5.0}).clear


def test_pairing_takes_the_seeds_noise_out():
    """Gains of 1, 2 and 3 over baselines that lie far apart; a seed that only one side has does not count."""
    baseline = {0: 10.0, 1: 50.0, 2: 30.0, 7: 99.0}
    found = paired({0: 11.0, 1: 52.0, 2: 33.0, 5: 0.0}, baseline)
    assert (found.mean, found.count) == (pytest.approx(2.0), 3)
    assert found.half_width == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert paired({9: 1.0}, baseline) is None


def test_a_learning_curve_reaches_its_target_between_points():
    curve = {10: 0.2, 20: 0.3, 30: 0.35}
    assert steps_to(curve, 0.1, 0.25) == pytest.approx(15.0)
    assert steps_to(curve, 0.1, 0.15) == pytest.approx(5.0)
    assert steps_to(curve, 0.1, 0.4) is None and steps_to(curve, 0.5, 0.4) == 0.0


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_arm_makes_a_valid_configuration_of_its_own(suite):
    arms = [point for arm in suite.arms for point in ([arm] if isinstance(arm, Arm) else arm.points)]
    config = TrainConfig(model=suite_config(suite.students[0]).model)
    config = replace(config, data=replace(config.data, roots=[]), schedule=replace(config.schedule, steps=1))
    texts = {}
    for arm in arms:
        text = to_yaml(replace(config, distill=replace(arm.distill, teacher=arm.teacher)))
        assert config_from_yaml(text, arm.name).distill.teacher == arm.teacher
        texts.setdefault(arm.label, text)
        assert texts[arm.label] == text
    assert len(set(texts.values())) == len(texts)
    labels = [arm.label for arm in suite.arms]
    assert labels[0] == "none" and len(set(labels)) == len(labels)


def test_rescaling_multiplies_every_weight_of_a_term():
    scaled = rescaled(DISTILLBEV, 8.0)
    assert scaled.feature.weight == 8.0 * DISTILLBEV.feature.weight
    assert scaled.attention.weight == 8.0 * DISTILLBEV.attention.weight
    assert rescaled(RECIPE, 8.0).response.heatmap == 8.0 * RECIPE.response.heatmap
    sections = [entry.name for entry in fields(RECIPE) if hasattr(getattr(RECIPE, entry.name), "weight")]
    assert set(sections) == {"feature", "attention", "relation"}  # and response, whose two weights have other names
    assert [point.distill.response.heatmap for point in GRID.points] == list(GRID_SCALES)
    assert {arm.distill.blending.method for arm in BLENDING.arms if isinstance(arm, Arm)} == {
        BlendingMethod.agb, BlendingMethod.fixed, BlendingMethod.pcgrad, BlendingMethod.uncertainty,
    }  # fmt: skip


def test_options_that_fit_nothing_are_named(tmp_path):
    with pytest.raises(ConfigError, match="suite 'mian' is unknown; choose one of main, ablation"):
        chosen_suite("mian", None)
    with pytest.raises(ConfigError, match="--arm 'mvp' is not in suite main; choose from: none, distill/centerpoint"):
        chosen_suite("main", ["mvp"])
    assert [arm.label for arm in chosen_suite("main", ["none", "distill/mvp"]).arms] == ["none", "distill/mvp"]
    with pytest.raises(ConfigError, match="--teacher 'mvp' is not NAME=FILE"):
        weights_by_name(["mvp"], ("mvp",), "--teacher")
    with pytest.raises(ConfigError, match="--teacher mvp: .*absent does not exist"):
        weights_by_name([f"mvp={tmp_path / 'absent'}"], ("mvp",), "--teacher")


def test_the_report_says_gains_trained_and_missing(tmp_path):
    """A gain of 2 in every seed but for 0.1 either way; a baseline that still learns; another protocol apart."""
    records = [record(START, mean_ap=0.9, start="another"), record(START, mean_ap=0.2)]
    for seed, noise in enumerate((-0.001, 0.0, 0.001)):
        records += [record("none", seed, 0.3 + 0.05 * seed), record("distill", seed, 0.32 + 0.05 * seed + noise)]
    records += [record("none", 0, 0.28, step=part_step(STEPS, 4)), record("none", 0, 0.9, protocol="other", batch=4)]
    records += [record("fixed_x0.25", 100, 0.25, split="tune")]
    found = comparisons(records)
    assert [(entry.batch, len(entry.records)) for entry in found] == [(8, 8), (4, 1)]
    gain = found[0].gain(DISTILL.label, "mAP")
    assert (gain.mean, gain.count, gain.clear) == (pytest.approx(0.02), 3, True)
    assert gain.half_width == pytest.approx(4.3027 * 0.001 / 3**0.5, abs=1e-6)
    files = write_distill_report(records, tmp_path / "distill.md")
    text = files[0].read_text()
    assert "**+2.0 ± 0.2**" in text and "+2.2, +2.9" in text  # ours, and the paper's in its own section
    assert "NOT trained to the end: its last third brought +2.00 mAP" in text
    assert "| *start, before these steps* |  | 20.0 | 22.0 |" in text
    assert "| fixed_x0.25/centerpoint | 25.0 |" in text
    assert "distill/mvp 0 of 5" in text and "/far/away" not in text
    assert all(file.is_file() and file.stat().st_size > 1000 for file in files) and len(files) == 2


def curve_records(arm: str, seed: int, gain: float, parts: int = PARTS) -> list[Record]:
    """A run scored after each part, whose mAP begins at 0.1 and rises by `gain` a part."""
    steps = [part_step(STEPS, part) for part in range(1, parts + 1)]
    return [record(arm, seed, 0.1 + gain * (index + 1), step=step) for index, step in enumerate(steps)]


def test_the_convergence_table_says_when_the_baselines_end_is_reached(tmp_path):
    records = [record(START, mean_ap=0.1), *curve_records("none", 0, 0.02), *curve_records("distill", 0, 0.04)]
    text = write_distill_report(records, tmp_path / "distill.md")[0].read_text()
    rows = [line for line in text.splitlines() if line.startswith("| distill/centerpoint | 1 | +2.0 | +4.0 |")]
    assert len(rows) == 1 and rows[0].endswith("| 50 % |")
    records += [*curve_records("none", 1, 0.02), *curve_records("distill", 1, 0.06)]
    records += curve_records("distill", 2, 0.9, parts=2)  # not yet at its end: it does not count
    text = write_distill_report(records, tmp_path / "distill.md")[0].read_text()
    row = next(line for line in text.splitlines() if line.startswith("| distill/centerpoint | 2 | +3.0 ± 12.7 |"))
    assert row.endswith("| 42 ± 106 % |")


def test_a_seed_that_never_gets_where_its_baseline_ends_is_counted(tmp_path):
    records = [record(START, mean_ap=0.1), *curve_records("none", 0, 0.02), *curve_records("none", 1, 0.02)]
    records += [*curve_records("distill", 0, 0.04), *curve_records("distill", 1, 0.01)]
    text = write_distill_report(records, tmp_path / "distill.md")[0].read_text()
    assert "| reached by 1 of 2 seeds |" in text


def test_an_empty_ledger_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no runs yet"):
        write_distill_report([], tmp_path / "distill.md")
