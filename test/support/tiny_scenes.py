"""Scenes that render in no time, in a module that worker processes can import."""

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from kd_perception.atomic import write_text


@dataclass(frozen=True)
class TinyScenes:
    """A plan of three scenes that are a file each."""

    out: Path
    jobs: int = 2
    scenes: int = 3
    content: dict[str, int] = field(default_factory=dict)

    def scene_file(self, index: int) -> Path:
        """As ScenePlan's."""
        return self.out / "scenes" / f"{index}.json"


def render(plan: TinyScenes, index: int) -> None:
    """Write a scene's file; Ctrl-C comes first."""
    os.kill(os.getpid(), signal.SIGINT)  # as a terminal does: to every process
    write_text(plan.scene_file(index), json.dumps({"content": plan.content}))
