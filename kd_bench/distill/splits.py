"""The three data sets of the suites: for training, reports and tuning."""

from kd_bench.ledger.splits import SplitPlan

TRAIN, REPORTED, TUNED = "train", "val", "tune"
LEAST_SCENES, LEAST_BOXES = 24, 100  # of the reported split: scenes, and boxes of every class
PLANS = {
    TRAIN: SplitPlan(scenes=80, seed=100),
    REPORTED: SplitPlan(scenes=24, seed=900),
    TUNED: SplitPlan(scenes=12, seed=5000),
}
