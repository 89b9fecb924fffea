"""What everything stands on: errors, progress, signals, locks, random streams, text tables."""
