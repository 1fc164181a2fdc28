"""Made-up lines of the distillation ledger."""

from dataclasses import replace

from kd_bench.distill.ledger import Record
from kd_bench.ledger.clock import PROCESSOR
from kd_perception.geometry.classes import CLASSES


def record(arm: str = "none", seed: int = 0, mean_ap: float = 0.3, **changes) -> Record:
    """A finished run of the main suite."""
    entry = Record(
        suite="main", student="bevdet4d", teacher="" if arm.startswith("none") else "centerpoint", arm=arm, seed=seed,
        split="val", steps=60, batch=8, mAP=mean_ap, NDS=mean_ap + 0.02, mATE=0.7, mASE=0.2, mAOE=1.0,
        mAVE=2.0, mAAE=0.4, AP=dict.fromkeys(CLASSES, mean_ap), truths=dict.fromkeys(CLASSES, 120), seconds=500.0,
        device="2 cores", command="kd bench distill --suite main --data /far/away/data", commit="abc",
        start="s", protocol="p", key="", clock=PROCESSOR,
    )  # fmt: skip
    entry = replace(entry, **changes)
    return replace(entry, key=f"{entry.student}-{entry.arm}-{entry.seed}-{entry.split}-{entry.steps}-{entry.protocol}")
