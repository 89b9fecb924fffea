"""Rates: exponents with intervals and verdicts, and the design of studies that resolve them better."""
