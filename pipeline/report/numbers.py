"""Formats of numbers, the same in tables and in the labels of figures."""

from __future__ import annotations

import math


def short(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits: 0.0123, 1.2e-05; – for NaN."""
    return "–" if math.isnan(value) else f"{value:.{digits}g}"


def whole(value: float) -> str:
    """A coordinate as given in the study: 64, 0.75."""
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"


def span(low: float, high: float, digits: int = 3) -> str:
    """An interval, or – if an end is NaN."""
    return "–" if math.isnan(low) or math.isnan(high) else f"{short(low, digits)} to {short(high, digits)}"


def grouped(count: int) -> str:
    """A count with thin spaces between groups of three digits: 12 800."""
    return f"{count:,}".replace(",", "\u202f")


def hours(seconds: float, smallest: float) -> str:
    """Seconds as hours, with the decimals that show `smallest` (in seconds) with two digits, so that columns align."""
    decimals = 2 if smallest <= 0 else max(0, 1 - math.floor(math.log10(smallest / 3600)))
    return f"{seconds / 3600:.{min(decimals, 9)}f}"
