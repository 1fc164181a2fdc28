"""The commit of the code that runs, which reports, ledgers and student files state."""

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
UNKNOWN = "unknown"
TIMEOUT_S = 10.0


def code_commit() -> str:
    """The checkout's short commit, '+' appended if files differ from it; UNKNOWN where the package is no checkout."""
    if not (CHECKOUT / ".git").exists():
        return UNKNOWN
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    return done.stdout.strip()
