"""Foundations shared by all packages: errors, progress, signals, locks, random streams, text tables."""
