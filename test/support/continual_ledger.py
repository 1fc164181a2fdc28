"""Made-up lines of the ledger of continual learning."""

from collections.abc import Sequence

from kd_bench.continual.domains import DomainSequence
from kd_bench.continual.records import DomainRecord
from kd_bench.ledger.clock import PROCESSOR
from kd_perception.geometry.classes import CLASSES


def learnt(
    sequence: DomainSequence, arm: str, step: int, accuracies: Sequence[float], seed: int = 0, **changes
) -> DomainRecord:
    """A finished run with an accuracy for each domain of a sequence of worlds."""
    scores = {
        domain.world.held_out_name: {
            "mAP": value, "NDS": value, "AP": dict.fromkeys(CLASSES, value), "truths": dict.fromkeys(CLASSES, 80)
        }
        for domain, value in zip(sequence.domains, accuracies, strict=True)
    }  # fmt: skip
    given = {
        "steps": 100, "batch": 8, "buffer": 0, "seconds": 100.0, "device": "2 cores",
        "command": "kd bench continual --data /far/away", "commit": "abc", "protocol": "p", "clock": PROCESSOR,
    } | changes  # fmt: skip
    return DomainRecord(
        sequence=sequence.name, student="bevdet", arm=arm, seed=seed, step=step, domain=sequence.names[step],
        scores=scores, key=f"{sequence.name}-{arm}-{step}-{seed}", **given,
    )  # fmt: skip
