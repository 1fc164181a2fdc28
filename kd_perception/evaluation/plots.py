"""Plots for the report, as SVG text."""

import io
from collections.abc import Mapping, Sequence

INK, FAINT = "#cdd4de", "#303844"
COLORS = ("#54d6ff", "#ffa826", "#50ec82", "#ff5cb2", "#be78ff", "#ecf05a", "#ff6952")


def latency_svg(stages: Mapping[str, Sequence[float]]) -> str:
    """Milliseconds of each stage: distribution (box: quartiles; whiskers: 5 to 95 %) and course over the frames."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), facecolor="none", layout="constrained")
    boxes, course = figure.subplots(1, 2, width_ratios=(1, 1.4))
    names = list(stages)
    drawn = boxes.boxplot(
        [stages[name] for name in names],
        orientation="horizontal",
        whis=(5, 95),
        widths=0.55,
        patch_artist=True,
        medianprops={"color": INK},
        whiskerprops={"color": INK},
        capprops={"color": INK},
        flierprops={"marker": ".", "markersize": 4, "markerfacecolor": INK, "markeredgecolor": "none"},
    )
    for i, (name, patch) in enumerate(zip(names, drawn["boxes"], strict=True)):
        color = COLORS[i % len(COLORS)]
        patch.set(facecolor=color, edgecolor=INK)
        course.plot(stages[name], color=color, label=name, linewidth=1.4, marker=".", markersize=3)
    boxes.set_yticks(range(1, len(names) + 1), names)
    boxes.invert_yaxis()
    boxes.set_xlabel("ms")
    course.set_xlabel("processed frame")
    course.set_ylabel("ms")
    for axes in (boxes, course):
        axes.set_facecolor("none")
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(colors=INK)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        axes.spines[:].set_color(FAINT)
        (axes.set_xlim if axes is boxes else axes.set_ylim)(0, None)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
