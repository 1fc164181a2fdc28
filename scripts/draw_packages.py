#!/usr/bin/env python3
"""Draws docs/images/packages.svg from the imports: packages, their folders floor by floor, and who imports whom.

A folder stands above all that it imports. Of the arrows between folders only those are drawn that no longer way
through other folders implies.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "packages.svg"
PACKAGES = {
    "kd_bench": "demo and measurements",
    "kd_training": "makes the model",
    "kd_synthetic": "the rendered world",
    "kd_perception": "runs on the robot; the contract",
}
ROWS = (("kd_bench",), ("kd_training", "kd_synthetic"), ("kd_perception",))
WIDTH, MARGIN, GAP = 1120, 16, 28
BOX_HEIGHT, FLOOR_HEIGHT, HEAD = 26, 46, 34

Imports = Mapping[str, set[str]]


@cache
def imported_modules(path: Path) -> set[str]:
    """Modules of this repository that a file imports, lazily or not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] in PACKAGES}


def package_imports() -> Imports:
    """Which packages each package imports."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        modules = set().union(*(imported_modules(path) for path in (ROOT / package).rglob("*.py")))
        found[package] = {name.split(".")[0] for name in modules} - {package}
    return found


def folder_imports(package: str) -> Imports:
    """Which folders, or modules at its top, each folder of a package imports."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / package).rglob("*.py"):
        own = _place(path.relative_to(ROOT / package).with_suffix("").parts)
        places = {_place(tuple(name.split(".")[1:])) for name in imported_modules(path) if _is_in(package, name)}
        found.setdefault(own, set()).update(places - {own, ""})
    found.pop("", None)
    return found


def floors(imports: Imports) -> dict[str, int]:
    """How high each folder stands; 0 imports none of the others. Raises graphlib.CycleError for a circle."""
    height: dict[str, int] = {}
    for name in TopologicalSorter(imports).static_order():
        height[name] = 1 + max((height[below] for below in imports.get(name, ())), default=-1)
    return height


def direct_imports(imports: Imports) -> set[tuple[str, str]]:
    """(upper, lower) for imports that no longer way implies (transitive reduction)."""
    below: dict[str, set[str]] = {}
    for name in TopologicalSorter(imports).static_order():
        near = imports.get(name, set())
        below[name] = near.union(*(below[lower] for lower in near)) if near else set()
    return {
        (upper, lower)
        for upper, near in imports.items()
        for lower in near
        if not any(lower in below[other] for other in near - {lower})
    }


def _is_in(package: str, module: str) -> bool:
    parts = module.split(".")
    if parts[0] != package or len(parts) < 2:
        return False
    inside = ROOT / package / parts[1]
    return inside.is_dir() or inside.with_suffix(".py").is_file()


def _place(parts: tuple[str, ...]) -> str:
    return "" if not parts or parts[0] == "__init__" else parts[0]


@dataclass(frozen=True)
class Panel:
    """One package as a rectangle, and the box (x, y, width) of each of its folders."""

    package: str
    x: float
    y: float
    width: float
    height: float
    boxes: Mapping[str, tuple[float, float, float]]


def layout_panel(package: str, x: float, y: float, width: float) -> Panel:
    """Folders of a package in rows, the highest floor first; each stands near those that import it."""
    imports = folder_imports(package)
    height, arrows = floors(imports), direct_imports(imports)
    top = max(height.values())
    centres: dict[str, float] = {}

    def wanted(name: str) -> tuple[float, str]:
        above = [centres[upper] for upper, lower in arrows if lower == name]
        mean = sum(above) / len(above) if above else x + width / 2
        return round(mean), name  # rounded: the order of a set must not decide a tie

    boxes = {}
    for floor in range(top, -1, -1):
        row = sorted((name for name in height if height[name] == floor), key=wanted)
        share = (width - GAP) / len(row)
        box_width = min(share - 10, 20 + 7.4 * max(map(len, row)))
        for i, name in enumerate(row):
            centres[name] = x + GAP / 2 + share * (i + 0.5)
            boxes[name] = centres[name] - box_width / 2, y + HEAD + (top - floor) * FLOOR_HEIGHT, box_width
    return Panel(package, x, y, width, HEAD + (top + 1) * FLOOR_HEIGHT, boxes)


def layout() -> list[Panel]:
    """The panels of all packages, in rows."""
    panels, y = [], float(MARGIN)
    for row in ROWS:
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        placed = [layout_panel(name, MARGIN + i * (width + GAP), y, width) for i, name in enumerate(row)]
        panels += placed
        y += max(panel.height for panel in placed) + 2 * GAP
    return panels


def draw(panels: list[Panel]) -> str:
    """The picture as SVG text."""
    height = max(panel.y + panel.height for panel in panels) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif" font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#7a8794"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>',
        *(_draw_panel(panel) for panel in panels),
        *_draw_package_arrows({panel.package: panel for panel in panels}),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _draw_panel(panel: Panel) -> str:
    lines = [
        f'<rect x="{panel.x:.0f}" y="{panel.y:.0f}" width="{panel.width:.0f}" height="{panel.height:.0f}" rx="8" '
        'fill="#f4f7fa" stroke="#9fb0c0"/>',
        f'<text x="{panel.x + 12:.0f}" y="{panel.y + 21:.0f}"><tspan font-weight="bold">{panel.package}</tspan>'
        f'<tspan fill="#556" dx="8">{escape(PACKAGES[panel.package])}</tspan></text>',
    ]
    for upper, lower in sorted(direct_imports(folder_imports(panel.package))):
        (x1, y1, width1), (x2, y2, width2) = panel.boxes[upper], panel.boxes[lower]
        lines.append(_arrow(x1 + width1 / 2, y1 + BOX_HEIGHT, x2 + width2 / 2, y2 - 1))
    for name, (x, y, width) in sorted(panel.boxes.items()):
        lines.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{BOX_HEIGHT}" rx="4" fill="white" '
            f'stroke="#4a6fa5"/><text x="{x + width / 2:.0f}" y="{y + 17:.0f}" text-anchor="middle">{name}</text>'
        )
    return "\n".join(lines)


def _draw_package_arrows(panels: Mapping[str, Panel]) -> list[str]:
    lines = []
    for upper, lower in sorted(direct_imports(package_imports())):
        above, below = panels[upper], panels[lower]
        left, right = max(above.x, below.x), min(above.x + above.width, below.x + below.width)
        lines.append(_arrow((left + right) / 2, above.y + above.height, (left + right) / 2, below.y - 1, 2.5))
    return lines


def _arrow(x1: float, y1: float, x2: float, y2: float, width: float = 1.0) -> str:
    return (
        f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#7a8794" stroke-width="{width:g}" '
        'marker-end="url(#tip)"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(layout()))
    print(f"wrote {PICTURE.relative_to(ROOT)}")
