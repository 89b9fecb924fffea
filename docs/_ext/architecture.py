"""The picture of the architecture, drawn from the order of packages and the imports: python docs/_ext/architecture.py.

The order in docs/architecture.toml is what tests hold against the imports, so that the picture cannot go out of date
unnoticed.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
TABLE = DOCS / "architecture.toml"
PICTURE = DOCS / "images" / "architecture.svg"
WIDTH, GAP, ROW_GAP, LINE, COLUMNS = 1080, 32, 44, 14, 4
BOX_WIDTH = (WIDTH - GAP * (COLUMNS + 1)) / COLUMNS
LETTER = 6.0  # width, in the units of the picture
TOP = "rnnlimits"


@dataclass(frozen=True)
class Group:
    """A package as a box of the picture: what it is for, its place, and the packages that arrows lead to."""

    name: str
    about: str
    layer: int
    column: int
    uses: tuple[str, ...]

    @property
    def title(self) -> str:
        """What its box and its page of the reference are headed with."""
        return self.name


@dataclass(frozen=True)
class Box:
    """Where a group stands, in the units of the picture."""

    x: float
    y: float
    width: float
    height: float


def order() -> list[str]:
    """The packages from the bottom up: each may import from those before it."""
    return list(tomllib.loads(TABLE.read_text(encoding="utf-8"))["order"])


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, and its file."""
    paths = {}
    for folder, start in ((ROOT / "pipeline", TOP), (ROOT / "kernels", f"{TOP}.kernels")):
        for path in sorted(folder.rglob("*.py")):
            name = ".".join([start, *path.relative_to(folder).with_suffix("").parts])
            paths[name.removesuffix(".__init__")] = path
    return paths


def group_of(module: str) -> str:
    """The package below rnnlimits that a module lies in; "" for those at the top."""
    package = module.split(".")[1:2]
    return package[0] if package and (module.count(".") > 1 or modules()[module].name == "__init__.py") else ""


def imports(source: str, known: Iterable[str]) -> set[str]:
    """Modules of ours that a source imports, anywhere in it, also for the type checker only.

    `from rnnlimits.theory import flow` names the module flow; the package is meant only where its own file is used.
    """
    known = set(known)
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inner | (set() if inner <= known else {str(node.module)})
    return names & known


@cache
def crossings() -> frozenset[tuple[str, str, str, str]]:
    """Imports from one package into another: importing module, its package, imported module, its package."""
    pairs = [
        (module, other)
        for module, path in modules().items()
        for other in imports(path.read_text(encoding="utf-8"), modules())
        if group_of(module) != group_of(other) and group_of(module) and group_of(other)
    ]
    return frozenset((module, group_of(module), other, group_of(other)) for module, other in pairs)


def uses() -> dict[str, set[str]]:
    """The packages that each package imports from."""
    return {name: {there for _, here, _, there in crossings() if here == name} for name in order()}


def direct(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no chain of other arrows stands for: they are enough to say what may be reached."""
    below: dict[str, set[str]] = {}
    for name in order():
        below[name] = arrows[name].union(*(below.get(used, set()) for used in arrows[name]))
    return {
        name: {used for used in arrows[name] if not any(used in below.get(other, set()) for other in arrows[name])}
        for name in arrows
    }


def groups() -> dict[str, Group]:
    """Every package, in its order; layer 1 is at the bottom."""
    arrows = direct(uses())
    layers: dict[str, int] = {}
    for name in order():
        layers[name] = 1 + max((layers.get(used, 0) for used in arrows[name]), default=0)
    table: dict[str, Group] = {}
    for name in order():
        row = [other for other in order() if layers[other] == layers[name]]
        about = ast.get_docstring(ast.parse(modules()[f"{TOP}.{name}"].read_text(encoding="utf-8"))) or ""
        first = about.splitlines()[0].rstrip(".")
        column = max(0, COLUMNS - len(row)) // 2 + row.index(name)
        table[name] = Group(name, first, layers[name], column, tuple(sorted(arrows[name])))
    return table


# --- the picture -------------------------------------------------------------------------------------------


def _lines(group: Group) -> list[tuple[str, str]]:
    """Lines of text below the title, each with its style."""
    return [("about", line) for line in wrap(group.about, int((BOX_WIDTH - 12) / LETTER))]


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
        "<title>Packages; an arrow points from a package to one that it imports from</title>",
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
