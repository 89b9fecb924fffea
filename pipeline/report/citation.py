"""How to cite this software, also from an installed copy: the content of CITATION.cff (a test compares the two)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

AUTHORS = "The rnnlimits authors"
TITLE = "rnnlimits: convergence rates of wide recurrent networks to their kernel limit"
VERSION = "0.1.0"
RELEASED = "2026-11-21"


class Paper(NamedTuple):
    """An article whose theory the software measures."""

    authors: str
    title: str
    identifier: str
    year: int


PAPERS = (
    Paper(
        "Samuel Chun-Hei Lam, Justin Sirignano, Konstantinos Spiliopoulos",
        "Kernel Limit for a Class of Recurrent Neural Networks Trained on Ergodic Data Sequences",
        "arXiv:2308.14555",
        2023,
    ),
    Paper(
        "Sina Alemohammad, Zichao Wang, Randall Balestriero, Richard G. Baraniuk",
        "The Recurrent Neural Tangent Kernel",
        "arXiv:2006.10246",
        2020,
    ),
)


def bibtex() -> str:
    """A BibTeX entry for this software."""
    fields = {
        "author": f"{{{AUTHORS}}}",
        "title": f"{{{TITLE}}}",
        "version": VERSION,
        "year": RELEASED[:4],
        "license": "BSD-3-Clause",
    }
    return entry("software", "rnnlimits", fields)


def entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """An entry of BibTeX, one line for each field."""
    longest = max(map(len, fields))
    lines = (f"  {name.ljust(longest)} = {{{value}}}," for name, value in fields.items())
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
