"""The command `kd bench continual`: what it does without training anything."""

from pathlib import Path

from support.continual_ledger import learnt
from typer.testing import CliRunner

from kd_bench.continual.arms import FIRST, OURS
from kd_bench.continual.domains import DAY_NIGHT
from kd_bench.continual.records import continual_ledger
from kd_perception.cli import app


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["bench", "continual", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_that_render_are_printed_and_nothing_is_rendered(tmp_path):
    lines = run("--commands", "--data", tmp_path / "data").splitlines()
    assert len(lines) == 10 and all(line.startswith("kd synth --scenes ") for line in lines)
    assert not list(tmp_path.iterdir())


def test_the_report_of_a_ledger_stands_beside_it(tmp_path):
    ledger = tmp_path / "made.jsonl"
    continual_ledger(ledger).append(
        [learnt(DAY_NIGHT, FIRST, 0, [0.3, 0.1]), learnt(DAY_NIGHT, OURS.name, 1, [0.3, 0.2])]
    )
    run("--report", "--ledger", ledger)
    assert "| night | 30.0 | 20.0 |" in (tmp_path / "made.md").read_text() and (tmp_path / "made.png").is_file()
