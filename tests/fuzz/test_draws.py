"""Drawn inputs of the readers: the values that were written, or one line; never other values, a traceback, a hang."""

from __future__ import annotations

import kinds
import pytest
from draws import FAULT, READERS, one, turn

DRAWS = 300
SHARES = [list(range(first, DRAWS, len(READERS))) for first in range(len(READERS))]  # all draws of one kind


@pytest.mark.parametrize("share", SHARES, ids=[turn(READERS, kinds.SEED, share[0]) for share in SHARES])
def test_readers(share: list[int]) -> None:
    results = [one(READERS, kinds.SEED, index) for index in share]
    faults = [str(result) for result in results if result.outcome == FAULT]
    assert not faults, "\n".join(["", *faults])
    assert {result.kind for result in results} == {results[0].kind}
    assert len({result.notes for result in results}) > len(results) // 2  # draws differ
