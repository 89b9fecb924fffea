"""Markov chains that drive a study: their keys, their paths, recorded series."""
