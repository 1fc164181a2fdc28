"""Figures of continual learning from a matrix of accuracies.

matrix (K, K): [i, j] is the accuracy on domain j after domain i was learnt; NaN where nobody measured it. Forgetting
and transfer follow Chaudhry et al. (arXiv:1801.10112) and Lopez-Paz & Ranzato (arXiv:1706.08840), forgetting relative
to what there was to forget. All are NaN where the matrix lacks what they need.
"""

import numpy as np


def relative_forgetting(matrix: np.ndarray) -> float:
    """Mean over the earlier domains of (best - last) / best; negative where the last student is better than ever.

    `best` is the best of the students from the one that learnt the domain to the last but one. A domain on which
    nobody ever found anything says nothing, and is left out.
    """
    last = len(matrix) - 1
    best = [np.max(matrix[j:last, j]) for j in range(last)]
    return _mean_relative_loss(np.array(best), matrix[last, :last])


def forgetting_since_learnt(matrix: np.ndarray) -> float:
    """Mean over the earlier domains of (a_jj - a_Kj) / a_jj: against the student that had just learnt the domain."""
    last = len(matrix) - 1
    return _mean_relative_loss(np.diagonal(matrix)[:last], matrix[last, :last])


def backward_transfer(matrix: np.ndarray) -> float:
    """Mean over the earlier domains of a_Kj - a_jj: what later domains brought them; below 0 is forgetting."""
    last = len(matrix) - 1
    return _mean(matrix[last, :last] - np.diagonal(matrix)[:last])


def forward_transfer(matrix: np.ndarray, before: np.ndarray) -> float:
    """Mean over the later domains of a_(j-1)j - before_j: accuracy on a domain that is yet to be learnt.

    before (K,): of a student that has learnt none of them; zeros for one that finds nothing.
    """
    unseen = np.diagonal(matrix, offset=1)
    return _mean(unseen - np.asarray(before)[1:])


def average_accuracy(matrix: np.ndarray) -> float:
    """Mean over all domains of the last student's accuracy."""
    return _mean(matrix[-1])


def learning_gains(matrix: np.ndarray) -> np.ndarray:
    """(K - 1,): a_jj - a_(j-1)j, what learning each later domain brought on it."""
    return np.diagonal(matrix)[1:] - np.diagonal(matrix, offset=1)


def _mean_relative_loss(before: np.ndarray, after: np.ndarray) -> float:
    counts = ~(before <= 0)  # NaN counts: what nobody measured must not pass for nothing
    if not counts.any():
        return float("nan")
    return _mean((before[counts] - after[counts]) / before[counts])


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
