"""HTML pages from templates: text is escaped, a forgotten value is an error, pictures are inside the page."""

import numpy as np
import pytest
from jinja2 import UndefinedError

from kd_perception.drawing.pages import data_url, render_page
from kd_perception.rig_check.finding import Finding, Severity

VALUES = {
    "title": "Cameras of <b>a & b</b>",
    "findings": [Finding(Severity.warning, "camera '<script>' looks odd")],
    "columns": ("camera", "n"),
    "rows": [("front", "3")],
    "legend": "n: images",
    "pictures": {"front": np.zeros((4, 6, 3), np.uint8)},
    "footprints": np.zeros((4, 4, 3), np.uint8),
}


def test_text_is_escaped_and_pictures_are_inside() -> None:
    page = render_page("rig_check.html", **VALUES)
    assert page.startswith("<!doctype html>") and page.count("<h1>") == 1
    assert "<title>Cameras of &lt;b&gt;a &amp; b&lt;/b&gt;</title>" in page
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert '<li class="warning"><b>warning</b>' in page
    assert page.count("data:image/jpeg;base64,") == 1 and page.count("data:image/png;base64,") == 1


def test_a_report_without_findings_says_so() -> None:
    assert "No mistake was found." in render_page("rig_check.html", **VALUES | {"findings": []})


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="legend"):
        render_page("rig_check.html", **{name: value for name, value in VALUES.items() if name != "legend"})


def test_only_known_picture_formats_are_inlined() -> None:
    with pytest.raises(KeyError):
        data_url(np.zeros((2, 2, 3), np.uint8), ".bmp")
