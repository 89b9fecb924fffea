"""The picture of the architecture, drawn from docs/architecture.toml: python docs/_ext/architecture.py.

The same table is what tests hold against the imports, so that the picture cannot go out of date unnoticed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
TABLE = DOCS / "architecture.toml"
PICTURE = DOCS / "images" / "architecture.svg"
WIDTH, GAP, ROW_GAP, LINE, COLUMNS = 1080, 32, 44, 14, 4
BOX_WIDTH = (WIDTH - GAP * (COLUMNS + 1)) / COLUMNS
LETTERS = {"about": 6.0, "modules": 7.0}  # widths, in the units of the picture


@dataclass(frozen=True)
class Group:
    """A box of the picture: its place, what it is for, modules as the table writes them, groups it may use."""

    name: str
    title: str
    about: str
    layer: int
    column: int
    modules: tuple[str, ...]
    uses: tuple[str, ...]


@dataclass(frozen=True)
class Box:
    """Where a group stands, in the units of the picture."""

    x: float
    y: float
    width: float
    height: float


def groups() -> dict[str, Group]:
    """The table."""
    found = tomllib.loads(TABLE.read_text(encoding="utf-8"))["group"]
    return {
        name: Group(name, **{key: tuple(value) if isinstance(value, list) else value for key, value in row.items()})
        for name, row in found.items()
    }


def full_name(module: str) -> str:
    """`flow` -> `pipeline.flow`; the kernels' names are whole already."""
    return module if module.split(".")[0] in ("pipeline", "kernels") else f"pipeline.{module}"


def modules() -> dict[str, Path]:
    """Every module of the two packages, and its file."""
    found = {}
    for path in sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def group_of(module: str, table: dict[str, Group]) -> str | None:
    """The group that names the module, or else the longest pattern `package.*` that it fits."""
    named = {full_name(one): group.name for group in table.values() for one in group.modules}
    if module in named:
        return named[module]
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        pattern = ".".join(parts[:length]) + ".*"
        if pattern in named:
            return named[pattern]
    return None


def below(name: str, table: dict[str, Group]) -> set[str]:
    """Groups that arrows lead to from `name`, at any distance."""
    found: set[str] = set()
    todo = list(table[name].uses)
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += table[one].uses
    return found


# --- the picture -------------------------------------------------------------------------------------------


def _lines(group: Group) -> list[tuple[str, str]]:
    """Lines of text below the title, each with its style."""
    shown = ", ".join(one.removesuffix(".*") + ("…" if one.endswith(".*") else "") for one in group.modules)
    texts = {"about": group.about, "modules": shown}
    return [(kind, line) for kind, text in texts.items() for line in wrap(text, int((BOX_WIDTH - 12) / LETTERS[kind]))]


def _places(table: dict[str, Group]) -> tuple[dict[str, Box], float]:
    """Boxes in rows, the highest layer on top, and the height of the picture."""
    places: dict[str, Box] = {}
    y = 16.0
    for layer in sorted({group.layer for group in table.values()}, reverse=True):
        row = [group for group in table.values() if group.layer == layer]
        height = 34 + LINE * max(len(_lines(group)) for group in row)
        for group in row:
            places[group.name] = Box(GAP + group.column * (BOX_WIDTH + GAP), y, BOX_WIDTH, height)
        y += height + ROW_GAP
    return places, y - ROW_GAP + 16


def _box(group: Group, box: Box) -> list[str]:
    middle = box.x + box.width / 2
    size = f'width="{box.width:.0f}" height="{box.height:.0f}"'
    lines = [
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" {size} rx="6" fill="#ffffff" stroke="#33557f" stroke-width="1.5"/>',
        f'<text x="{middle:.0f}" y="{box.y + 20:.0f}" class="title">{escape(group.title)}</text>',
    ]
    for index, (kind, line) in enumerate(_lines(group)):
        y = box.y + 38 + LINE * index
        lines.append(f'<text x="{middle:.0f}" y="{y:.0f}" class="{kind}">{escape(line)}</text>')
    return lines


def _is_free(x: float, top: float, bottom: float, boxes: Iterable[Box]) -> bool:
    """Whether a vertical line meets no box."""
    return not any(
        box.x - 4 < x < box.x + box.width + 4 and box.y < bottom and box.y + box.height > top for box in boxes
    )


def _route(x1: float, y1: float, x2: float, y2: float, boxes: list[Box]) -> float:
    """Where an arrow goes down: below its start, above its end, or between two columns beside its end."""
    side = -1 if x1 < x2 else 1
    column = round((x2 - GAP - BOX_WIDTH / 2) / (BOX_WIDTH + GAP))
    between = GAP / 2 + (column + (side > 0)) * (BOX_WIDTH + GAP)
    inner = (y1 + ROW_GAP - 2, y2 - ROW_GAP + 2)
    return next((x for x in (x2, x1) if _is_free(x, *inner, boxes)), between + 5 * side)


def _arrow(start: tuple[float, float], end: tuple[float, float], boxes: list[Box]) -> str:
    """A line that is vertical but for curves in the gaps between rows."""
    (x1, y1), (x2, y2) = start, end
    x = _route(x1, y1, x2, y2, boxes)
    half = ROW_GAP / 2 - 4
    down, up = y1 + 2 * half, y2 - 2 * half
    path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + half:.0f} {x:.0f},{y1 + half:.0f} {x:.0f},{down:.0f}"
    if up > down:
        path += f" L{x:.0f},{up:.0f} C{x:.0f},{y2 - half:.0f} {x2:.0f},{y2 - half:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{path}" class="arrow" marker-end="url(#head)"/>'


def _arrows(table: dict[str, Group], places: dict[str, Box]) -> list[str]:
    """All arrows; those at one edge are spread along it in the order of their other ends."""
    pairs = [(group.name, used) for group in table.values() for used in group.uses]

    def at(own: str, other: str, others: list[str]) -> float:
        order = sorted(others, key=lambda name: (places[name].x, places[name].y))
        return places[own].x + places[own].width * (order.index(other) + 1) / (len(order) + 1)

    arrows = []
    for upper, lower in pairs:
        x1 = at(upper, lower, [b for a, b in pairs if a == upper])
        x2 = at(lower, upper, [a for a, b in pairs if b == lower])
        bottom = places[upper].y + places[upper].height
        arrows.append(_arrow((x1, bottom), (x2, places[lower].y - 7), list(places.values())))
    return arrows


STYLE = """\
text { font-family: sans-serif; text-anchor: middle; fill: #1a1a1a }
.title { font-size: 15px; font-weight: bold }
.about { font-size: 12px; fill: #333333 }
.modules { font-size: 11.5px; font-family: monospace; fill: #33557f }
.arrow { fill: none; stroke: #777777; stroke-width: 1.4 }"""
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#777777"/></marker></defs>'
)


def picture() -> str:
    """The SVG."""
    table = groups()
    places, height = _places(table)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">',
        "<title>Groups of modules; an arrow points from a group to one that it imports from</title>",
        f"<style>{STYLE}</style>",
        HEAD,
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" fill="#f4f6f9"/>',
        *_arrows(table, places),
        *(line for group in table.values() for line in _box(group, places[group.name])),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
