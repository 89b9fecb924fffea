"""The compiled kernels for each level of x86-64 that this processor can execute: vectors of 16, 32 and 64 bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import runs

from rnnlimits.kernels import compiler
from rnnlimits.kernels.interface import KernelError

TESTS = Path(__file__).parent
# Each is compiled anew for each level: those that say how exact the kernels are, and few of a kind.
CHOSEN = [
    "test_near_equal.py::test_a_few_units_at_every_difference[relu-float64-host]",
    "test_near_equal.py::test_a_few_units_at_every_difference[relu-deep-float32-host]",
    "test_near_equal.py::test_a_few_units_at_every_difference[erf-float64-host]",
    "test_rntk.py::test_equal_sequences_under_two_names",
    "test_rntk.py::test_reference_values[host]",
    "test_functions.py::test_double_precision",
    "test_activations.py::test_the_error_of_the_kernel",
    "test_paths_kernel.py::test_gaussian_chains_against_their_definition",
    "test_training_kernel.py::test_other_exponents_against_the_definition",
]


@pytest.mark.needs_compiler
@pytest.mark.parametrize("level", compiler.LEVELS)
def test_kernels_are_exact_at_each_level(level: str) -> None:
    if level not in compiler.levels_here():
        pytest.skip(f"this processor cannot execute {level}")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", *options, *(str(TESTS / one) for one in CHOSEN)]
    environment = {**os.environ, "RNNLIMITS_MARCH": level, "RNNLIMITS_REQUIRE": "compiler"}
    done = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, timeout=runs.HANG)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " skipped" not in done.stdout.splitlines()[-1], done.stdout[-2000:]


@pytest.mark.needs_compiler
def test_the_level_is_part_of_what_names_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLIMITS_CACHE", str(tmp_path))
    # A process keeps the libraries that it has loaded: a macro of this test's own, so that none is among them.
    defines = {"TEST_OF_LEVELS": 1}
    for value in ("", "native", *compiler.levels_here()):
        monkeypatch.setenv("RNNLIMITS_MARCH", value)
        assert compiler.load("host_paths.cpp", defines) is not None
    assert len(list(tmp_path.glob("*.so"))) == 1 + len(compiler.levels_here())


@pytest.mark.parametrize(("value", "words"), [
    ("avx2", "RNNLIMITS_MARCH=avx2: it is not known; allowed here: native"),
    ("x86-64-v4", r"RNNLIMITS_MARCH=x86-64-v4: this processor cannot execute it; .*: native, x86-64-v2, x86-64-v3$"),
])  # fmt: skip
def test_what_cannot_be_executed_is_refused_in_one_line(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = frozenset().union(*(compiler.LEVELS[level] for level in ("x86-64-v2", "x86-64-v3")))
    monkeypatch.setattr(compiler, "_features", lambda: flags)
    monkeypatch.setenv("RNNLIMITS_MARCH", value)
    with pytest.raises(KernelError, match=words) as caught:
        compiler.load("host_rntk.cpp")
    assert "\n" not in str(caught.value)
