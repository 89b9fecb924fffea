"""Whole runs in drawn surroundings: the digests of a calm run, or one line and exit code 2."""

from __future__ import annotations

import kinds
import pytest
from draws import FAULT, RUNS, one, turn

WHOLE_RUNS = 10


@pytest.mark.needs_mpi
@pytest.mark.parametrize("index", range(WHOLE_RUNS), ids=lambda index: turn(RUNS, kinds.SEED, index))
def test_whole_run(index: int) -> None:
    result = one(RUNS, kinds.SEED, index)
    assert result.outcome != FAULT, f"\n{result}"
