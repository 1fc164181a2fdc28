"""The suites' arms, what is concluded from a ledger, and its report."""

from dataclasses import replace

import pytest
from support.ledger import record

from kd_bench.distill.arms import (
    BEST,
    CHOSEN,
    LABELS,
    MAIN,
    PLAN,
    PUBLISHED,
    SUITES,
)
from kd_bench.distill.common_arms import NONE_SHORT, NONE_TENTH
from kd_bench.distill.comparison import comparisons, last_third_gain
from kd_bench.distill.gates import gates
from kd_bench.distill.report import write_distill_report
from kd_bench.distill.terms_suite import TERMS
from kd_bench.ledger.starts import demo_student
from kd_perception.errors import DataError
from kd_training.config.experiment import TrainConfig, config_from_yaml, to_yaml


def pairs(arm: str, gain: float, suite: str = "main", seeds: int = 3, **changes) -> list:
    """Paired runs of the baseline and an arm that gains in every seed, but for 0.1 mAP either way."""
    noise = (-0.001, 0.0, 0.001)
    runs = []
    for seed in range(seeds):
        runs.append(record("none", seed, 0.3 + 0.05 * seed, suite=suite, **changes))
        runs.append(record(arm, seed, 0.3 + 0.05 * seed + gain + noise[seed % 3], suite=suite, **changes))
    return runs


@pytest.mark.parametrize("suite", {suite.name: suite for suite in SUITES}.values(), ids=lambda suite: suite.name)
def test_every_arm_makes_a_valid_configuration_of_its_own(suite):
    config = TrainConfig(model=demo_student(suite.student).model)
    config = replace(config, data=replace(config.data, roots=[]), schedule=replace(config.schedule, steps=1))
    texts = {}
    for arm in suite.arms:
        loss = replace(config.loss, smooth=arm.smooth, overlap=arm.overlap)
        text = to_yaml(replace(config, distill=replace(arm.distill, teacher=arm.teacher), loss=loss))
        assert config_from_yaml(text, arm.name).distill.teacher == arm.teacher
        texts[text, arm.labelled, arm.unlabelled, arm.length, arm.image, arm.camera_teacher] = arm.name
    assert len(texts) == len(suite.arms) == len({arm.name for arm in suite.arms})
    assert suite.arm(suite.baseline)


def test_the_plan_ends_with_every_arm_and_seed_of_every_suite():
    planned = {(suite.title, arm.name, seed) for entry in PLAN for suite, arm, seed in entry.pieces()}
    wanted = {
        (suite.title, arm.name, suite.first_seed + seed)
        for suite in SUITES
        for arm in suite.arms
        for seed in range(arm.seeds)
    }
    assert planned == wanted


def test_what_a_tenth_of_the_labels_may_see_is_no_more_than_that():
    """Its teacher, too; and the arm with all labels is the main suite's baseline, run once."""
    for arm in LABELS.arms:
        assert arm.labelled == 10 or arm == replace(MAIN.arm("none"), seeds=3)
        assert not arm.teacher or arm.teacher == "centerpoint_tenth"
    assert LABELS.start == MAIN.start and PUBLISHED.start != MAIN.start and not PUBLISHED.depth_loss


def test_gains_are_paired_within_one_protocol_and_split():
    records = [*pairs(CHOSEN, 0.02), record("none", 0, 0.9, protocol="other"), record(CHOSEN, 0, 0.1, split="tune")]
    found = comparisons(MAIN, records)
    assert [len(entry.records) for entry in found] == [6, 1]
    gain = found[0].gain(CHOSEN, "mAP")
    assert (gain.mean, gain.count, gain.clear) == (pytest.approx(0.02), 3, True)
    assert gain.half_width == pytest.approx(4.3027 * 0.001 / 3**0.5, abs=1e-6)
    assert found[1].gain(CHOSEN, "mAP") is None and not comparisons(PUBLISHED, records)


def test_the_baseline_is_trained_if_a_schedule_two_thirds_as_long_is_nearly_as_good():
    runs = [record("none", 0, 0.30), record("none", 1, 0.35)]
    assert last_third_gain(runs) is None and gates(runs)[0].verdict == "open"
    for short, verdict in ((0.295, "reached"), (0.28, "NOT reached")):
        judged = [*runs, record(NONE_SHORT.name, 0, short, steps=40)]
        assert last_third_gain(judged) == pytest.approx(0.30 - short)
        assert gates(judged)[0].verdict == verdict
        assert comparisons(MAIN, judged)[0].steps == 60


def test_gates_of_the_gain_and_of_few_labels():
    """Gains of 3 and of 1 mAP with little noise; a tenth of the labels 10 mAP below all, a teacher brings 6."""
    assert [gate.verdict for gate in gates(pairs(CHOSEN, 0.03))] == ["open", "open", "reached", "open", "open", "open"]
    assert gates(pairs(CHOSEN, 0.01))[2].verdict == "NOT reached"
    assert gates(pairs(CHOSEN, 0.03, seeds=1))[2].verdict == "open"
    few = [record("none", seed, 0.30 + 0.01 * seed) for seed in range(3)]
    few += [record(NONE_TENTH.name, seed, 0.20 + 0.01 * seed, suite="labels", teacher="") for seed in range(3)]
    assert gates(few)[1].verdict == "reached" and gates(few)[3].verdict == "open"
    few += [record("answers_tenth", seed, 0.26 + 0.01 * seed, suite="labels") for seed in range(3)]
    room, brought, share = (gates(few)[index] for index in (1, 3, 4))
    assert "+10.0" in room.figures and "answers_tenth **+6.0 ± 0.0** (3 seeds)" in brought.figures
    assert (brought.verdict, share.verdict) == ("reached", "reached") and "87" in share.figures


def test_features_stay_open_while_two_seeds_cannot_tell():
    def terms(*gains: float) -> list:
        runs = [record("answers", 100 + seed, 0.3, suite="terms", split="tune") for seed in range(len(gains))]
        names = ("pearson_features",) * len(gains)
        return runs + [
            record(name, 100 + seed, 0.3 + gain, suite="terms", split="tune")
            for seed, (name, gain) in enumerate(zip(names, gains, strict=True))
        ]

    assert gates(terms(0.01, 0.02))[-1].verdict == "open"
    assert gates(terms(0.0100, 0.0101))[-1].verdict == "reached"
    assert gates(terms(-0.01, -0.02))[-1].verdict == "NOT reached"


def test_the_report_says_gains_missing_runs_and_what_was_chosen(tmp_path):
    records = [replace(entry, axis=0.2, turned=0.15) for entry in pairs(CHOSEN, 0.02)]
    records += [record("answers", 100, 0.25, suite="terms", split="tune")]
    records += [record("pearson_features", 100, 0.26, suite="terms", split="tune")]
    records += [record("teacher", 0, 0.7, suite="teacher", student="", protocol="identity", steps=3000)]
    files = write_distill_report(records, tmp_path / "distillation.md")
    text = files[0].read_text()
    assert "| With a teacher and without, bevdet4d | answers | 3 | 35.0 ± 12.4 | 37.0 ± 12.7 | **+2.0 ± 0.2** |" in text
    assert "| car | 35.0 ± 12.4 | **+2.0 ± 0.2** |" in text
    assert "The best here is `pearson_features`; the other suites report `answers`" in text
    assert f"Missing (seeds there): none 3 of 5, {BEST.name} 3 of 5, heads 0 of 3" in text
    assert "| centerpoint | 70.0 |" in text and "+2.2, +2.9" in text and "/far/away" not in text
    assert "| axis rad | turned % |" in text and "| 0.20 ± 0.00 | 15.0 ± 0.0 |" in text
    assert "No run yet." in text
    assert all(file.is_file() and file.stat().st_size > 1000 for file in files) and len(files) == 3
    assert TERMS.split == "tune"


def test_an_empty_ledger_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no runs yet"):
        write_distill_report([], tmp_path / "distillation.md")
