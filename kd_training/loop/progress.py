"""The progress of a run on the terminal: a bar with the time left, and below it what the losses are."""

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text


class RunProgress(Progress):
    """One bar; `losses` is shown in full below it."""

    def __init__(self, steps: int, first: int, *, shown: bool) -> None:
        self.losses = ""
        columns = (
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        super().__init__(
            *columns, console=Console(stderr=True), disable=not shown, refresh_per_second=1, speed_estimate_period=300
        )
        self._bar = self.add_task("", total=steps, completed=first)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and the losses."""
        yield from super().get_renderables()
        if self.losses:
            yield Text(self.losses)

    def done(self, steps: int) -> None:
        """So many steps are done."""
        self.update(self._bar, completed=steps)
