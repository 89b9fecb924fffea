"""What a study will run and write: parts, steps, outputs, whatever kind of study it is."""
