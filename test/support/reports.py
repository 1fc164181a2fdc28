"""Stands for a node's Health and log: what was counted and said."""

from collections import Counter


class Report:
    """counts: by name or kind of problem; sentences: problems and log lines in order; details: as diagnostics."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sentences: list[str] = []
        self.details: dict[str, str] = {}

    def count(self, name: str, amount: int = 1) -> None:
        """As Health."""
        self.counts[name] += amount

    def problem(self, kind: str, sentence: str) -> None:
        """As Health."""
        self.count(kind)
        self.sentences.append(sentence)

    def detail(self, values: dict[str, str]) -> None:
        """As Health."""
        self.details |= values

    def info(self, text: str) -> None:
        """As a logger."""
        self.sentences.append(text)
