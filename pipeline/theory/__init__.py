"""The limit and what is computed of it: laws, memory, kernel, moments, long-run variances."""
