"""Rates: exponents with intervals and verdicts, and which study would resolve more."""
