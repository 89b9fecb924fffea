"""Rates: exponents with intervals and verdicts from the files of a study, and which study would resolve more."""
