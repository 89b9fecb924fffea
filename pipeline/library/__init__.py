"""The public functions of rnnlimits: studies, limits, networks and results in Python, without a command line."""
