"""The share of a gap that an arm recovers, its interval, and when nothing is said."""

from support.ledger import record

from kd_bench.distill.arms import SINGLE
from kd_bench.distill.comparison import comparisons
from kd_bench.distill.gap import gap_table, scale_aims, share_of_gap
from kd_bench.distill.report import write_distill_report
from kd_bench.distill.scale_arms import CROSS, FINE, HIGH, LONGER, SAME, SCALE, SCALE_SEEDS
from kd_bench.distill.suite_runs import at_image_size
from kd_bench.ledger.starts import demo_student

NOISE = (-0.004, 0.003, 0.0, 0.005, -0.004)


def runs(wide: float, gain: float, seeds: int = 5) -> list:
    """Seeds differ by much, and arms by little more than noise; NDS is mAP + .02 in every record."""
    found = []
    for seed in range(seeds):
        base, noise = 0.3 + 0.05 * seed, NOISE[seed]
        for arm, more in (("none", 0.0), (HIGH.name, wide + noise), (CROSS.name, gain - noise)):
            found.append(record(arm, seed, base + more, suite="scale", student="bevdet", teacher=""))
    return found


def compared(records: list):
    return comparisons(SCALE, records)[0]


def test_a_share_has_the_interval_of_a_paired_bootstrap():
    share = share_of_gap(compared(runs(0.06, 0.03)), CROSS.name, "mAP")
    assert abs(share.mean - 0.5) < 1e-6 and share.count == 5
    assert 0.40 < share.low < share.mean < share.high < 0.60  # the arms' noise is shared: narrow
    exact = share_of_gap(compared(runs(0.06, 0.03)), HIGH.name, "NDS")
    assert (round(exact.mean, 9), round(exact.low, 9), round(exact.high, 9)) == (1.0, 1.0, 1.0)


def test_nothing_is_said_of_a_gap_that_is_small_or_within_noise_or_of_one_seed():
    assert share_of_gap(compared(runs(0.029, 0.02)), CROSS.name, "mAP") is None
    noisy = [
        record(arm, seed, 0.3 + more, suite="scale", student="bevdet", teacher="")
        for seed, wide in enumerate((0.15, -0.05, 0.02))
        for arm, more in (("none", 0.0), (HIGH.name, wide), (CROSS.name, 0.02))
    ]
    for records in (noisy, runs(0.06, 0.03, seeds=1), runs(0.029, 0.02)):
        assert gap_table(compared(records)).startswith("Share of the gap: not told, as high resolution is worth ")
        assert [aim.verdict for aim in scale_aims(records)][1:] == ["open", "open"]
    assert [aim.verdict for aim in scale_aims([])] == ["open", "open", "open"]
    assert scale_aims(runs(0.02, 0.02))[0].verdict == "NOT reached"


def test_half_of_the_mAP_and_six_tenths_of_the_NDS_are_wanted(tmp_path):
    assert [aim.verdict for aim in scale_aims(runs(0.06, 0.033))] == ["reached", "reached", "NOT reached"]
    assert [aim.verdict for aim in scale_aims(runs(0.06, 0.045))] == ["reached", "reached", "reached"]
    text = write_distill_report(runs(0.06, 0.033), tmp_path / "report.md")[0].read_text()
    assert "| cross_scale | 55 % [" in text and "recovers at least 60 % of the gap in NDS" in text


def test_the_suite_has_four_times_the_pixels_and_five_seeds_of_every_arm():
    arms = {arm.name for arm in SCALE.arms}
    assert arms == {SINGLE.baseline, HIGH.name, LONGER.name, SAME.name, CROSS.name}
    assert all(arm.seeds == SCALE_SEEDS for arm in SCALE.arms)
    assert (CROSS.camera_teacher, SAME.camera_teacher) == (HIGH.name, "none")
    model = demo_student(SCALE.student).model
    fine = at_image_size(model, *FINE)
    assert fine.image_height * fine.image_width == 4 * model.image_height * model.image_width
    assert (model.view.depth_focal, fine.view.depth_focal) == (278.0, 556.0)
