"""The sets of a ledger's command: rendered where they lack scenes, opened, and described on the terminal."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from kd_bench.ledger.splits import Split, SplitPlan, open_splits, render_missing


class TimeUpError(Exception):
    """The budget ended while data was rendered; finished scenes are kept."""


def shown_splits(
    data: Path, plans: Mapping[str, SplitPlan], console: Console, *, deadline: float, render: bool
) -> dict[str, Split]:
    """The splits in a folder; with `render` missing scenes are rendered first. Raises TimeUpError at the deadline."""

    def on_scene(name: str, done: int, total: int) -> None:
        if time.monotonic() >= deadline:
            raise TimeUpError
        if done < total:
            console.print(f"{name}: {done} of {total} scenes are rendered")

    if render:
        render_missing(data, plans, len(os.sched_getaffinity(0)), on_scene)
    splits = open_splits(data, plans)
    for name, split in splits.items():
        console.print(f"{name}: {len(split.scenes)} scenes, {split.keyframes} keyframes ({split.identity})")
    return splits
