"""The picture of the architecture, drawn from docs/architecture.toml: python docs/_ext/architecture.py.

The same table is what tests hold against the imports, so that the picture cannot go out of date unnoticed.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
TABLE = DOCS / "architecture.toml"
PICTURE = DOCS / "images" / "architecture.svg"
WIDTH, GAP, ROW_GAP, LINE = 1080, 24, 40, 14
PER_LETTER = 6.3  # of the small letters, in the units of the picture


@dataclass(frozen=True)
class Group:
    """A box of the picture: a row, what it is for, modules as the table writes them, and the groups that it may use."""

    name: str
    title: str
    about: str
    layer: int
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
        name: Group(name, row["title"], row["about"], row["layer"], tuple(row["modules"]), tuple(row["uses"]))
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


def _text_of(group: Group, width: float) -> list[str]:
    shown = ", ".join(one.removesuffix(".*") + ("…" if one.endswith(".*") else "") for one in group.modules)
    return wrap(shown, int((width - 24) / PER_LETTER))


def _places(table: dict[str, Group]) -> tuple[dict[str, Box], float]:
    """Boxes in rows, the highest layer on top, and the height of the picture."""
    places: dict[str, Box] = {}
    y = 16.0
    for layer in sorted({group.layer for group in table.values()}, reverse=True):
        row = [group for group in table.values() if group.layer == layer]
        width = (WIDTH - 2 * GAP - GAP * (len(row) - 1)) / len(row)
        if len(row) == 1:
            width = WIDTH * 0.46
        start = (WIDTH - len(row) * width - GAP * (len(row) - 1)) / 2
        height = 50 + LINE * max(len(_text_of(group, width)) for group in row) + 8
        for index, group in enumerate(row):
            places[group.name] = Box(start + index * (width + GAP), y, width, height)
        y += height + ROW_GAP
    return places, y - ROW_GAP + 16


def _box(group: Group, box: Box) -> list[str]:
    middle = box.x + box.width / 2
    size = f'width="{box.width:.0f}" height="{box.height:.0f}"'
    lines = [
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" {size} rx="6" fill="#ffffff" stroke="#33557f" stroke-width="1.5"/>',
        f'<text x="{middle:.0f}" y="{box.y + 20:.0f}" class="title">{escape(group.title)}</text>',
        f'<text x="{middle:.0f}" y="{box.y + 36:.0f}" class="about">{escape(group.about)}</text>',
    ]
    for index, line in enumerate(_text_of(group, box.width)):
        y = box.y + 54 + LINE * index
        lines.append(f'<text x="{middle:.0f}" y="{y:.0f}" class="modules">{escape(line)}</text>')
    return lines


def _arrow(upper: Box, lower: Box, start: float, end: float) -> str:
    """A curve from the lower edge of one box to the upper edge of the other; start, end: shares of their widths."""
    x1, y1 = upper.x + upper.width * start, upper.y + upper.height
    x2, y2 = lower.x + lower.width * end, lower.y - 7
    bend = min(60.0, (y2 - y1) / 2)
    path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + bend:.0f} {x2:.0f},{y2 - bend:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{path}" class="arrow" marker-end="url(#head)"/>'


def _arrows(table: dict[str, Group], places: dict[str, Box]) -> list[str]:
    """All arrows; those of one edge are spread along it in the order of where they go."""
    pairs = [(group.name, used) for group in table.values() for used in group.uses]

    def middle(name: str) -> float:
        return places[name].x + places[name].width / 2

    def share(own: str, other: str, all_of: list[str]) -> float:
        order = sorted(all_of, key=middle)
        return (order.index(other) + 1) / (len(order) + 1)

    return [
        _arrow(
            places[upper],
            places[lower],
            share(upper, lower, [b for a, b in pairs if a == upper]),
            share(lower, upper, [a for a, b in pairs if b == lower]),
        )
        for upper, lower in pairs
    ]


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
