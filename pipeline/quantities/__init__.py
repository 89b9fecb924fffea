"""What is measured: a quantity's estimator, the ladder that it varies along, what is expected of it."""
