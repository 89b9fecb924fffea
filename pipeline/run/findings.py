"""The findings of `rnnlimits doctor`."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, FAILED = "ok", "warning:", "FAILED:"


@dataclass(frozen=True)
class Finding:
    """One line of the page."""

    section: str
    mark: str  # OK, WARNING or FAILED
    label: str
    text: str
