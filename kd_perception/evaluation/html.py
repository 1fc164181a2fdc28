"""report.html: one self-contained file with scores, pictures and latency."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from kd_perception.atomic import write_text
from kd_perception.drawing.cameras import CLASS_COLORS, encode_image
from kd_perception.evaluation.metric import Metrics
from kd_perception.evaluation.pictures import DRAWN_SCORE, SamplePicture
from kd_perception.evaluation.plots import latency_svg
from kd_perception.evaluation.report import RunReport
from kd_perception.evaluation.table import ERROR_COLUMNS, number

STYLE = """
:root { color-scheme: dark; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 1500px; background: #11151c; color: #cdd4de;
       font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .7rem; }
.sub { color: #8a95a5; } code { color: #9fd7ff; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: 1.2rem; }
.tile { background: #1a2029; border-radius: .5rem; padding: .7rem 1.1rem; min-width: 7rem; }
.tile b { display: block; font-size: 1.5rem; color: #fff; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .9rem; text-align: right; border-bottom: 1px solid #262d38; }
th { color: #8a95a5; font-weight: 500; } th:first-child, td:first-child { text-align: left; }
tr.absent { color: #5d6673; } .swatch { display: inline-block; width: .8em; height: .8em; margin-right: .5em;
border-radius: 2px; } figure { margin: 0 0 1.4rem; } figcaption { color: #8a95a5; margin-top: .3rem; }
.pair { display: grid; grid-template-columns: 2.6fr 1fr; gap: .6rem; align-items: center; }
@media (max-width: 900px) { .pair { grid-template-columns: 1fr; } }
img, svg { max-width: 100%; height: auto; border-radius: .4rem; display: block; }
"""


def write_html(
    path: Path,
    title: str,
    report: RunReport,
    metrics: Metrics,
    stages: Mapping[str, Sequence[float]],
    pictures: Sequence[SamplePicture],
    notes: Sequence[str] = (),
) -> None:
    """Write the report atomically; `stages` are milliseconds a frame for the plot, `notes` go under the title."""
    sections = [
        _head(title, report, notes),
        _tiles(report, metrics),
        "<h2>What it saw</h2>",
        f'<p class="sub">Colour: detections with a score of at least {DRAWN_SCORE}; arrow: the way of the next second. '
        "White: truth with LiDAR points.</p>",
        *(_figure(picture) for picture in pictures),
        "<h2>nuScenes detection metric</h2>",
        _class_table(metrics),
        "<h2>Latency</h2>",
        latency_svg(stages) if any(len(times) for times in stages.values()) else "<p>No frame was answered.</p>",
        _latency_table(report),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(sections)}</body></html>\n"
    )
    write_text(path, page)


def _head(title: str, report: RunReport, notes: Sequence[str]) -> str:
    paragraphs = "".join(f'<p class="sub">{escape(note)}</p>' for note in notes)
    facts = {"model": report.model, "engine": report.engine, "commit": report.commit}
    line = " · ".join(f"{name} <code>{escape(value)}</code>" for name, value in facts.items())
    return f'<h1>{escape(title)}</h1><div class="sub">{line}</div>{paragraphs}'


def _tiles(report: RunReport, metrics: Metrics) -> str:
    total = report.latency_ms.get("total", {}).get("p50")
    figures = [
        ("mAP", f"{metrics.mean_ap:.3f}"),
        ("NDS", f"{metrics.nds:.3f}"),
        ("frames in", report.frames_in),
        ("answered", report.frames_answered),
        ("dropped", report.frames_dropped),
        ("median total", "-" if total is None else f"{total:.0f} ms"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{value}</b>{name}</div>' for name, value in figures)
        + "</div>"
    )


def _figure(picture: SamplePicture) -> str:
    counts = f"{picture.detections} detections drawn, {picture.truths} truth boxes"
    images = image_tag(picture.grid(), "cameras", ".jpg") + image_tag(picture.bev, "bird’s-eye view", ".png")
    caption = escape(f"{picture.scene}, sample {picture.sample_token}: {counts}")
    return f'<figure><div class="pair">{images}</div><figcaption>{caption}</figcaption></figure>'


def image_tag(picture: np.ndarray, alt: str, suffix: str) -> str:
    kind = "jpeg" if suffix == ".jpg" else "png"
    return (
        f'<img alt="{alt}" src="data:image/{kind};base64,{base64.b64encode(encode_image(picture, suffix)).decode()}">'
    )


def _class_table(metrics: Metrics) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("class", "truth", "found", "AP", *(name for name, _ in ERROR_COLUMNS))
    )
    rows = []
    for name, row in metrics.classes.items():
        color = "#{:02x}{:02x}{:02x}".format(*CLASS_COLORS[name])
        cells = [
            str(row.truths),
            str(row.detections),
            f"{row.ap:.3f}",
            *(number(getattr(row, field)) for _, field in ERROR_COLUMNS),
        ]
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        swatch = f'<span class="swatch" style="background:{color}"></span>{name.replace("_", " ")}'
        rows.append(f'<tr class="{"" if row.truths else "absent"}"><td>{swatch}</td>{body}</tr>')
    note = (
        '<p class="sub">A class without truth (dimmed) counts with AP 0 and errors 1 in mAP and NDS, '
        "as nuscenes-devkit has it.</p>"
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>{note}"


def _latency_table(report: RunReport) -> str:
    rows = "".join(
        f"<tr><td>{escape(stage)}</td>" + "".join(f"<td>{value:.1f}</td>" for value in times.values()) + "</tr>"
        for stage, times in report.latency_ms.items()
    )
    return f"<table><tr><th>stage</th><th>p50 [ms]</th><th>p95 [ms]</th><th>p99 [ms]</th></tr>{rows}</table>"
