"""A fair share of all that was ever offered, in bounded memory: Vitter's algorithm R (ACM TOMS 11(1), 1985)."""

import numpy as np


def reservoir_slots(first: int, count: int, slots: int, seed: int) -> dict[int, int]:
    """Which of `count` offers, numbered from `first` on, are in which of the slots after the last of them.

    Slots that none of them takes keep what they have. After n offers each of them is in a slot with the same
    probability, slots / n. An offer's draw depends on the seed and its number alone, so that domains which are offered
    one by one end as if they had been offered at once.
    """
    taken: dict[int, int] = {}
    for number in range(first, first + count):
        slot = number if number < slots else int(np.random.default_rng([seed, number]).integers(number + 1))
        if slot < slots:
            taken[slot] = number
    return taken
