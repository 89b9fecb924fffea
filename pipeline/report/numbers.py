"""Numbers as a reader sees them: in a table and under the pointer alike."""

from __future__ import annotations

import math


def short(value: float, digits: int = 3) -> str:
    """A number in `digits` significant digits: 0.0123, 1.2e-05; – if there is none."""
    return "–" if math.isnan(value) else f"{value:.{digits}g}"


def whole(value: float) -> str:
    """A coordinate as it was given: 64, 0.75."""
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"


def span(low: float, high: float, digits: int = 3) -> str:
    """An interval, or – if there is none."""
    return "–" if math.isnan(low) or math.isnan(high) else f"{short(low, digits)} to {short(high, digits)}"


def grouped(count: int) -> str:
    """A count with thin spaces between groups of three digits: 12 800."""
    return f"{count:,}".replace(",", "\u202f")


def hours(seconds: float) -> str:
    """Seconds as hours, in three significant digits without an exponent."""
    value = seconds / 3600
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{min(decimals, 7)}f}"
