"""The end of `kd`: a signal that comes just before signals are ignored leaves status 130 and no traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from kd_perception import cli


def end_with(app: str, number: int) -> None:
    """Run `kd` with a command that ends as `app` says; the signal comes as the command's end is reached."""
    ends: dict[str, Callable[[], None]] = {"done": lambda: sys.exit(0), "interrupted": interrupted, "wrong": wrong}
    ignore_all = cli.ignore_all
    coming = [number]

    def ignore_later() -> None:
        if coming:
            os.kill(os.getpid(), coming.pop())
        ignore_all()

    cli.app, cli.ignore_all = ends[app], ignore_later
    cli.main()


def interrupted() -> None:
    """A command that Ctrl-C ends."""
    os.kill(os.getpid(), signal.SIGINT)


def wrong() -> None:
    """A command that a user called wrongly."""
    raise cli.KdError("the folder is empty")


@pytest.mark.parametrize("app", ["done", "interrupted", "wrong"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_very_end(app, number):
    code = f"import test_cli; test_cli.end_with({app!r}, {int(number)})"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130, ended.stderr
    assert "Traceback" not in ended.stderr and "interrupted" in ended.stderr


MADE_OF_TEXT = """
from kd_perception import cli

def app():
    exec("import os, signal; os.kill(os.getpid(), signal.SIGHUP); late = True")

cli.app = app
cli.main()
"""


def test_a_signal_while_a_class_is_made_of_text(tmp_path):
    """Dataclasses and message types are; `python -m` would end by SIGINT."""
    (tmp_path / "made_of_text.py").write_text(MADE_OF_TEXT)
    ended = subprocess.run([sys.executable, "-m", "made_of_text"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 130 and "Traceback" not in ended.stderr, ended.stderr
