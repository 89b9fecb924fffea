"""The tables of docs/format.md."""

from __future__ import annotations

import re

import runs

TEXT = (runs.ROOT / "docs" / "format.md").read_text(encoding="utf-8")


SHORT = {"float64": "f8", "float32": "f4", "int64": "i8", "uint8": "u1", "object": "str"}


Fields = dict[str, tuple[str, str, str]]


def rows(kind: str) -> dict[str, list[str]]:
    """Cells of the table below a heading, by name."""
    section = re.search(rf"^### {kind}\n(.*?)(?=^##|\Z)", TEXT, re.M | re.S)
    assert section, f"docs/format.md has no section {kind}"
    cells = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in section[1].splitlines()
        if line[:3] == "| `"
    ]
    return {name.strip("`"): rest for name, *rest in cells}


def documented(kind: str) -> tuple[Fields, set[str]]:
    """(dims, dtype, units) of each variable of a kind, and the names of those that may be absent."""
    table = rows("draw-shard") | rows("draw") if kind == "draw" else rows(kind.replace("ensemble", "shard"))
    if kind.endswith("-ensemble"):
        table |= rows("ensembles")
    if kind == "train-state":  # with what was seen at checkpoints
        table |= {name: row for name, row in rows("train-shard").items() if row[0].startswith("replica, time")}
    if kind == "rich-state":
        table |= {name: row for name, row in rows("rich-shard").items() if row[0].startswith("path, member, time")}
    optional = {name for name, row in table.items() if "optional" in row[-1]}
    return {name: (row[0], row[1], row[2]) for name, row in table.items()}, optional
