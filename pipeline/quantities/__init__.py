"""What is measured: a quantity's estimator, its ladder, what is expected of it."""
