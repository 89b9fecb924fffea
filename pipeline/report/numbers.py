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


def hours(seconds: float, smallest: float) -> str:
    """Seconds as hours, with the decimals that give `smallest`, also in seconds, two digits: a column lines up."""
    decimals = 2 if smallest <= 0 else max(0, 1 - math.floor(math.log10(smallest / 3600)))
    return f"{seconds / 3600:.{min(decimals, 9)}f}"
