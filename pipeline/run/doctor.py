"""`rnnlimits doctor`: one page about this machine, and whether training works on it, from all ranks of an MPI job."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import mpi4py
import snakemake
from mpi4py import MPI

from rnnlimits import kernels
from rnnlimits.base import launchers, surroundings
from rnnlimits.base.errors import StudyError
from rnnlimits.files.provenance import software
from rnnlimits.kernels import toolchain
from rnnlimits.kernels.interface import Backend, KernelError
from rnnlimits.ranks import gpus, parallel, selftest
from rnnlimits.run import disk, folders, mpiexec
from rnnlimits.run.environment import of_jobs
from rnnlimits.run.findings import FAILED, OK, WARNING, Finding

# In the order of the page.
SECTIONS = ("software", "MPI", "ranks", "compilers", "GPU", "results", "limits", "back ends")
PATIENCE = 120.0  # seconds that rank 0 waits for the others after its own checks: another node may have to compile
TAG = 77
DRIVER = Path("/proc/driver/nvidia")


@dataclass(frozen=True)
class Report:
    """The findings of one rank."""

    rank: int
    node: str
    cores: frozenset[int]  # on which it may run
    seat: gpus.Seat | None
    folder: int  # inode of the deepest existing part of the results folder
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Order:
    """The user's options, and this rank's place."""

    results: Path
    backend: str
    rank: int
    ranks: int
    split: int  # rank among those of its node


def run(results: Path, backend: str, show: Callable[[Sequence[Finding]], str] | None = None) -> int:
    """Print the page on rank 0; returns its exit code, 0 unless something FAILED (and 0 on the other ranks).

    show: returns the text to print for all findings, instead of the page.

    Raises KernelError for an unknown back end.
    """
    comm = parallel.world()
    kernels.require_known(backend)
    report = examine(Order(results, backend, comm.rank, comm.size, parallel.rank_on_node(comm)))
    reports = collect(comm, report, PATIENCE)
    if comm.rank != 0:
        return 0
    findings = [*report.findings, *compare(reports)]
    print((show or page)(findings), flush=True)
    code = int(any(finding.mark == FAILED for finding in findings))
    if None in reports:
        parallel.abort(comm, "ranks that do not answer are ended")  # they would not end by themselves
    return code


def collect(comm: MPI.Intracomm, report: Report, patience: float) -> list[Report | None]:
    """The reports of all ranks on rank 0, None for one that did not answer in `patience` seconds; [] elsewhere."""
    if comm.rank != 0:
        comm.send(report, 0, TAG)
        return []
    reports: list[Report | None] = [report, *[None] * (comm.size - 1)]
    end, status = time.monotonic() + patience, MPI.Status()
    while None in reports and time.monotonic() < end:
        if comm.iprobe(tag=TAG, status=status):
            reports[status.source] = comm.recv(source=status.source, tag=TAG)
        else:
            time.sleep(parallel.IDLE_SECONDS)
    return reports


def examine(order: Order) -> Report:
    """All findings of one rank; a check that breaks is a finding. Only the first rank checks what they share."""
    checks: list[tuple[str, str, Callable[[], Iterable[Finding]]]] = [
        ("results", "results folder", lambda: folders.results(order.results)),
        ("results", "kernel cache", folders.caches),
        ("limits", "temporary files", folders.temporary),
        ("limits", "/dev/shm", folders.shared_memory),
        ("limits", "limits", folders.limits),
        ("back ends", order.backend, lambda: _requested(order)),
    ]
    if order.rank == 0:
        checks[:0] = [("software", "software", _software), ("MPI", "MPI", lambda: _mpi(order, os.environ))]
        checks += [("compilers", "C++", _compilers), ("GPU", "CuPy", _gpu)]
        checks += [("results", "working folder", folders.working)]
        checks += [("results", "file locks", lambda: folders.locks(order.results))]
        checks += [("results", "locks held", lambda: folders.held(order.results))]
        checks += [("back ends", name, partial(_other, name)) for name in _other_names(order.backend)]
    findings = [finding for section, label, check in checks for finding in guarded(section, label, check)]
    folder = disk.nearest(order.results).stat().st_ino
    return Report(order.rank, platform.node(), frozenset(_cores()), _seat(order), folder, tuple(findings))


def guarded(section: str, label: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of a check, or one that it broke, so that the page is printed even on a broken machine."""
    try:
        return list(check())
    except Exception as error:
        kind = "" if isinstance(error, StudyError | KernelError) else f"{type(error).__name__}: "
        return [Finding(section, FAILED, label, f"{kind}{error}")]


# --- software, MPI, compilers ------------------------------------------------------------------------------


def _software() -> Iterator[Finding]:
    facts = software()
    config = h5py.get_config()
    yield Finding("software", OK, "rnnlimits", f"{facts['software_version']}, commit {facts['git_commit']}")
    yield Finding("software", OK, "Python", f"{platform.python_version()}, {sys.executable}")
    yield Finding("software", OK, "platform", platform.platform())
    yield Finding("software", OK, "NumPy", str(facts["numpy"]))
    parallel_io = "with" if config.mpi else "without"
    hdf5 = f"{h5py.__version__}, HDF5 {h5py.version.hdf5_version}, {parallel_io} MPI (not needed)"
    yield Finding("software", OK, "h5py", hdf5)
    yield Finding("software", OK, "Snakemake", snakemake.__version__)
    yield from variables(surroundings.ignored(os.environ, launchers.is_rank(os.environ)))


def variables(ignored: Sequence[str]) -> Iterator[Finding]:
    """One line on the variables that are set and not obeyed, if there are any."""
    if ignored:
        advice = "; RNNLIMITS_PYTHONPATH adds folders" if "PYTHONPATH" in ignored else ""
        yield Finding("software", OK, "variables", f"ignored here: {', '.join(ignored)}{advice}")


def _mpi(order: Order, environment: Mapping[str, str]) -> Iterator[Finding]:
    vendor, version = MPI.get_vendor()
    numbers = ".".join(map(str, version))
    yield Finding("MPI", OK, "library", f"{vendor} {numbers}, mpi4py {mpi4py.__version__}")
    yield launched(order.ranks, environment)
    yield _mpiexec(of_jobs())


def _mpiexec(variables: Mapping[str, str]) -> Finding:
    """Whether mpiexec is found, starts ranks in time, and belongs to this Python's MPI."""
    try:
        path = mpiexec.require(variables)
    except StudyError as error:
        return Finding("MPI", WARNING, "mpiexec", f"{str(error).removeprefix('mpiexec: ')}; `rnnlimits run` needs it")
    return Finding("MPI", OK, "mpiexec", f"{path}, starts ranks")


def launched(ranks: int, environment: Mapping[str, str]) -> Finding:
    """How the job was started. Ranks that a foreign mpiexec started do not come as far as this."""
    one = launchers.started(environment)
    if one is not None:
        return Finding("MPI", OK, "ranks", f"{ranks}, started by {one.launcher}")
    return Finding("MPI", OK, "ranks", f"{ranks}, started alone; mpiexec -n 2 rnnlimits doctor tries several")


def _compilers() -> Iterator[Finding]:
    try:
        chosen = toolchain.find_compiler()
    except KernelError as error:
        advice = "install one (Debian: apt-get install g++); `run` then needs --backend numpy, 10 to 100 times slower"
        yield Finding("compilers", WARNING, "C++", f"{error}; {advice}")
        return
    candidates = [chosen, *((path,) for path in map(shutil.which, toolchain.CANDIDATES) if path)]
    for words in dict.fromkeys(candidates):
        used = " (the one used)" if words == chosen else ""
        first = (toolchain.version(words).splitlines() or ["no version"])[0]
        yield Finding("compilers", OK, "C++", f"{shlex.join(words)}, {first}{used}")


def _gpu() -> Iterator[Finding]:
    from rnnlimits.kernels import cuda_backend

    reason = cuda_backend.available()
    if reason is not None:
        has_driver = DRIVER.exists()
        advice = "; this machine has an NVIDIA driver, so a GPU may lie idle" if has_driver else " (not needed)"
        yield Finding("GPU", WARNING if has_driver else OK, "CUDA", f"none: {reason}{advice}")
    for label, value in cuda_backend.report():
        if value != reason:
            yield Finding("GPU", OK, label, value)


# --- back ends ---------------------------------------------------------------------------------------------


def _requested(order: Order) -> Iterator[Finding]:
    be = kernels.backend(order.backend, gpu=gpus.own(order.backend, os.environ, order.split))
    yield from known_answers(be)


def _other_names(requested: str) -> list[str]:
    """The back ends that are tried as well as the requested one, as far as this machine has them."""
    return [name for name in kernels.BACKENDS if name != kernels.preferred(requested)]


def _other(name: str) -> Iterator[Finding]:
    """Self-test of a back end that was not requested: if it is missing or wrong, that is only a warning."""
    try:
        be = kernels.backend(name)
    except KernelError:
        return  # reported by the checks of the compilers and the GPU
    for finding in known_answers(be):
        mark = WARNING if finding.mark == FAILED else finding.mark
        yield Finding(finding.section, mark, finding.label, finding.text)


def known_answers(be: Backend) -> Iterator[Finding]:
    """Self-test: random words, and a short training in both precisions with its speed."""
    if not selftest.philox_agrees(be):
        yield Finding("back ends", FAILED, be.name, "its random words are not the published ones; do not use it")
        return
    for precision in selftest.BOUNDS:
        trial = selftest.try_training(be, precision)
        bound = f"{trial.difference:.1e} from the NumPy definition (bound {selftest.BOUNDS[precision]:.0e})"
        speed = f"{trial.speed:.2g} unit-steps/s on this rank"
        if trial.good:
            yield Finding("back ends", OK, f"{be.name} {precision}", f"{bound}, {speed}")
        else:
            yield Finding("back ends", FAILED, f"{be.name} {precision}", f"{bound}: wrong; do not use it")


def _seat(order: Order) -> gpus.Seat | None:
    try:
        index = gpus.own(order.backend, os.environ, order.split)
        if index is None:
            return None
        return gpus.Seat(platform.node(), index, *kernels.gpu(order.backend, index))
    except (StudyError, KernelError):
        return None  # the reason was reported when the back end was tried


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


# --- all ranks ---------------------------------------------------------------------------------------------


def compare(reports: Sequence[Report | None]) -> Iterator[Finding]:
    """The table of ranks, problems on ranks other than the first, and disagreements between ranks."""
    heard = [report for report in reports if report is not None]
    for rank, report in enumerate(reports):
        yield _row(rank, report)
    silent = [rank for rank, report in enumerate(reports) if report is None]
    if silent:
        text = f"{gpus.name_ranks(silent)}: no answer in {PATIENCE:.0f} s; look at their nodes"
        yield Finding("ranks", FAILED, "silent", text)
    yield from _crowded(heard)
    yield from _divided(heard)
    seats = [report.seat for report in heard if report.seat is not None]
    if 0 < len(seats) < len(heard):
        lacking = gpus.name_ranks([report.rank for report in heard if report.seat is None])
        yield Finding("ranks", FAILED, "GPUs", f"{lacking} without one; give every rank a GPU, or --backend host")
    elif seats and (warning := gpus.sharing(seats)):
        yield Finding("ranks", WARNING, "GPUs", warning.removeprefix("warning: "))
    yield from _elsewhere(heard)


def _row(rank: int, report: Report | None) -> Finding:
    if report is None:
        return Finding("ranks", FAILED, f"rank {rank}", "no answer")
    gpu = f"GPU {report.seat.index} ({report.seat.device}, {report.seat.bus})" if report.seat else "no GPU"
    cores = gpus.name_ranks(sorted(report.cores)).partition(" ")[2]
    mark = FAILED if any(finding.mark == FAILED for finding in report.findings) else OK
    return Finding("ranks", mark, f"rank {rank}", f"{report.node}, cores {cores}, {gpu}")


def _crowded(reports: Sequence[Report]) -> Iterator[Finding]:
    """Nodes with more ranks than cores: often all ranks bound to one core by the launcher."""
    for node in dict.fromkeys(report.node for report in reports):
        here = [report.cores for report in reports if report.node == node]
        cores = frozenset().union(*here)
        if len(here) > len(cores):
            some = f"{len(here)} ranks on {len(cores)} core{'s' * (len(cores) > 1)}"
            text = f"{some}; start fewer, or let the launcher bind them to more"
            yield Finding("ranks", WARNING, node, text)


def _divided(reports: Sequence[Report]) -> Iterator[Finding]:
    """Ranks on other nodes that see another folder at the path of the results folder."""
    away = [report.rank for report in reports if report.folder != reports[0].folder]
    if away:
        text = f"another folder than rank 0 sees, on {gpus.name_ranks(away)}; choose --results on a shared file system"
        yield Finding("results", FAILED, "results folder", text)


def _elsewhere(reports: Sequence[Report]) -> Iterator[Finding]:
    """Warnings and failures of the other ranks, with equal findings of several ranks in one line."""
    ranks_of: dict[Finding, list[int]] = {}
    for report in reports:
        for finding in report.findings if report.rank != 0 else ():
            if finding.mark != OK:
                ranks_of.setdefault(finding, []).append(report.rank)
    for finding, ranks in ranks_of.items():
        yield Finding(finding.section, finding.mark, finding.label, f"{gpus.name_ranks(ranks)}: {finding.text}")


# --- the page ----------------------------------------------------------------------------------------------


def page(findings: Sequence[Finding]) -> str:
    """Findings below the headings of their sections, and a last line that counts failures and warnings."""
    lines = []
    for section in SECTIONS:
        lines.append(section)
        lines += [f"  {f.mark:<8}  {f.label:<14}  {f.text}" for f in findings if f.section == section]
    failed, warned = (sum(finding.mark == mark for finding in findings) for mark in (FAILED, WARNING))
    verdict = "everything that was requested works" if failed == 0 else f"{failed} FAILED"
    return "\n".join([*lines, f"{verdict}; {warned} warning{'s' * (warned != 1)}"])
