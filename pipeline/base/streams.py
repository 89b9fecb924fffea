"""The registry of random streams, which depend on what is drawn and never on the rank that draws it."""

from __future__ import annotations

from enum import IntEnum


class Stream(IntEnum):
    """Second half of the Philox key. Only append: reusing a value would change the meaning of old results."""

    INITIAL_W = 1
    INITIAL_C = 2
    INITIAL_B = 3
    CHAIN_NOISE = 4
    CHAIN_START = 5
    PROBE_NOISE = 6
    PROBE_START = 7
    DRAW_NOISE = 8
    DRAW_START = 9
    COUPLING_NOISE = 10
    COUPLING_START = 11
    BOOTSTRAP = 12
    CHECK = 13
    SCRAMBLE = 14
    POISSON_NOISE = 15
    POISSON_START = 16
    MIXING_NOISE = 17
    MIXING_START = 18
    RNTK_RECURRENT = 19
    RNTK_BELOW = 20
    RNTK_BIAS = 21
    RNTK_OUTPUT = 22
    RNTK_START = 23
    RNTK_SEQUENCE = 24
    RNTK_TARGET = 25
    RNTK_WEIGHED = 26
    RANDOM_MASS = 27
    MEMORY_FIELD = 28
    KERNEL_FIELD = 29
    FORETOLD = 30
