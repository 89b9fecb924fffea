"""Memory that arrays give back: without it a process faults in the pages of each new array again."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from runs import ENVIRONMENT, HANG

from rnnlimits.base import memory

PAGES = """
import resource
import numpy as np
{before}
np.ones(3 << 17)
start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    kept = [np.ones(3 << 17) for _ in range(4)]
    del kept
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""


def faults(before: str) -> int:
    command = [sys.executable, "-c", PAGES.format(before=before)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library of GNU")
def test_arrays_of_some_megabytes_are_not_faulted_in_again() -> None:
    pages = (3 << 20) // resource.getpagesize()
    assert faults("from rnnlimits.base import memory; memory.keep_freed()") < 10 * pages  # of 200 arrays


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed()
