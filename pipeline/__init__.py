"""Measure how fast a wide recurrent network, trained online, converges to its kernel limit."""

from __future__ import annotations

__version__ = "0.1.0"
