"""Rows of rates.h5 as versions 1 and 2 wrote them, in the words and columns of today.

Version 1 held exponents over finite widths against their values at infinity, row by row. That is no prediction of what
a study measures: its verdicts are not taken over, but kept in the notes. Version 2 had no rows
at other checkpoints, and neither time nor files; its verdicts stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

REMEDY = "an older version wrote these rates, without predictions; run rnnlimits rates STUDY again"
RATE_VARIABLES = (
    *("study", "quantity", "estimator", "variable", "at", "exponent", "stderr", "ci_low", "ci_high", "prefactor"),
    *("points", "replicas", "expected", "expected_kind", "verdict", "note", "law", "chi2_p"),
)
POINT_VARIABLES = ("variable", "estimate", "stderr", "used", "replicas", "local_slope", "local_low", "local_high")
WITHOUT_TIME = 2
LATER = ("time", "files", "in_time")  # variables that version 2 lacks
RENAMED = {"chi2_p": "line_p"}
NUMBERLESS = "undetermined"


def remedy(versions: Iterable[int]) -> str:
    """What to say of rows of these versions; "" of those whose verdicts stand."""
    return REMEDY if 1 in versions else ""


def variables_of(version: int, today: tuple[str, ...]) -> tuple[str, ...]:
    """The variables of rows that a file of this version has; today: those of the present version."""
    if version == 1:
        return RATE_VARIABLES
    return tuple(name for name in today if name not in LATER) if version == WITHOUT_TIME else today


def translated(fields: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The variables of a file of version 1, by their present names, with the verdicts of today."""
    found = {RENAMED.get(name, name): list(values) for name, values in fields.items()}
    old, expected, notes = found["verdict"], found["expected"], found["note"]
    found["verdict"] = [_verdict(*both) for both in zip(old, expected, strict=True)]
    found["note"] = ["; ".join(filter(None, (note, _said(word)))) for note, word in zip(notes, old, strict=True)]
    return found


def _verdict(old: str, expected: float) -> str:
    return "cannot tell" if old == NUMBERLESS and not math.isnan(expected) else "no prediction"


def _said(old: str) -> str:
    return "" if old == NUMBERLESS else f"{old} with its expected value, said version 1"
