"""The report: a table that fits the terminal, verdicts that need evidence, and clouds that do not hide pictures."""

from dataclasses import replace
from io import StringIO

import numpy as np
from rich.console import Console

from kd_perception.geometry.camera import Camera
from kd_perception.printable import printable
from kd_perception.rig_check.finding import Finding, Severity
from kd_perception.rig_check.pictures import draw_cloud
from kd_perception.rig_check.report import print_report, table_rows


def test_the_table_fits_80_columns_and_is_sure_only_with_evidence(report_of):
    report = report_of(None)
    stream = StringIO()
    print_report(report, Console(file=stream, width=80))
    table = stream.getvalue().splitlines()
    assert max(map(len, table)) <= 80 and sum("CAM_" in line and line.rstrip().endswith("ok") for line in table) == 6

    weak = replace(report, agreements=dict.fromkeys(report.agreements, 4.9))
    assert {row[-1] for row in table_rows(weak)} == {"?"}
    doubt = Finding(Severity.note, "cannot tell", ("CAM_BACK",), doubt=True)
    verdicts = {row[0]: row[-1] for row in table_rows(replace(report, findings=[doubt]))}
    assert verdicts.pop("CAM_BACK") == "?" and set(verdicts.values()) == {"ok"}


def test_a_dense_cloud_does_not_hide_the_picture():
    """A wall of 100 000 points in front of a white picture: most of it stays as bright as it is drawn."""
    camera = Camera("front", np.array([[400.0, 0, 400], [0, 400.0, 225], [0, 0, 1]]), np.eye(4), 800, 450)
    across, down = np.meshgrid(np.linspace(-10, 10, 400), np.linspace(-6, 6, 250))
    wall = np.stack([across.ravel(), down.ravel(), np.full(across.size, 10.0)], axis=1)
    drawn = draw_cloud(np.full((450, 800, 3), 255, np.uint8), camera, wall)
    untouched = (drawn == int(255 * 0.75)).all(axis=2).mean()
    assert 0.5 < untouched < 0.95


def test_text_for_the_terminal_shows_what_it_is():
    assert printable("caf\u00e9 /front 190\u00b0\n") == "caf\u00e9 /front 190\u00b0\n"
    assert printable("a\x1b[31m\r\u202eb\u200b") == r"a\x1b[31m\r\u202eb\u200b"
