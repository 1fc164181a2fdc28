"""Progress bars of measurements."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Show = Callable[[int, int], None]  # called with what is done and the total


def silent(done: int, total: int) -> None:
    """Show nothing."""


@contextmanager
def progress_bars(console: Console) -> Iterator[Callable[[str], Show]]:
    """Yields a function that adds a bar under a text and returns what to call with (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:

        def add(text: str) -> Show:
            task = bars.add_task(text, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield add
