"""What `rnnlimits plan` foretells, compared with what a run takes.

    python benchmarks/plan.py config/demo.yaml               # the whole run: processor time, and time on the clock
    python benchmarks/plan.py --kinds config/demo.yaml       # by kind of work, on one rank in one process

Whole runs are those of the command line, in an empty folder, with their processor time from the operating system. By
kind, each stage runs in this process, and whatever it does is counted as preparing and computing blocks, writing
shards, or joining them; the seconds beside each are what the plan has for it, without the starts of processes. Other
work on the machine makes the clock meaningless, and processor time longer; the load is printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from benchmarks.overhead import Clocks  # noqa: E402

COMMAND = [sys.executable, "-P", "-m", "rnnlimits"]
KINDS = {"draw": "draws", "twin": "twins", "rich": "rich", "tangents": "tangents", "train": "trainings"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def foretold(study: Path, cores: int) -> dict[str, Any]:
    """The forecast of `rnnlimits plan`."""
    words = [*COMMAND, "plan", str(study), "--json", "--cores", str(cores), "--results", "/nonexistent"]
    found = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=_environment())
    return dict(json.loads(found.stdout)["forecast"])


def whole_run(study: Path, cores: int) -> tuple[float, float]:
    """Seconds of all processors, and on the clock, that `rnnlimits run` takes."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*COMMAND, "run", str(study), "--cores", str(cores), "--results", str(Path(folder) / "results")]
        before, began = _processor_seconds(), time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(words, check=True, cwd=folder, env=_environment(), **quiet)
        return _processor_seconds() - before, time.perf_counter() - began


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _environment() -> dict[str, str]:
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT / "src")}


def kinds_here(study: Path, results: Path) -> dict[str, float]:
    """Seconds of the processor of all parts and steps, in this process, by kind of work."""
    clocks = Clocks()
    from mpi4py import MPI

    from rnnlimits import experiments, kernels
    from rnnlimits.ranks import sharded
    from rnnlimits.study import load_any

    run, sharded.write_shard = sharded.run, clocks.around("shards", sharded.write_shard)

    def timed(comm: MPI.Intracomm, of: Any) -> None:
        kind = KINDS[of.label.split()[0]] if experiment.kind == "training" else "networks"
        prepare, compute = clocks.around(kind, of.prepare), clocks.around(kind, of.compute)
        run(comm, dataclasses.replace(of, prepare=prepare, compute=compute, join=clocks.around("joins", of.join)))

    sharded.run = timed
    experiment, be = experiments.of(load_any(study), results), kernels.backend("host")
    for part in experiment.parts():
        part.run(MPI.COMM_WORLD, be)
    for step in experiment.steps():
        clocks.around(step.name, step.run)(lambda: be)
    return clocks.stop()


def by_kind(study: Path) -> None:
    """Print seconds by kind of work on one rank, foretold and measured."""
    forecast = foretold(study, 1)
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(Path(__file__).resolve()), "--here", folder, str(study)]
        found = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=_environment())
    measured = json.loads(found.stdout.splitlines()[-1])
    print(f"{study.stem}: load {os.getloadavg()[0]:.1f}")
    for row in forecast["work"]:
        if row["kind"] != "starts":
            _line(row["kind"], row["processor_seconds"], measured.get(row["kind"], 0.0))


def _line(name: str, seconds: float, measured: float) -> None:
    ratio = f"{measured / seconds:6.2f}" if seconds else ""
    print(f"  {name:10s} {seconds:9.2f} s {measured:9.2f} s {ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, metavar="STUDY")
    parser.add_argument("--kinds", action="store_true", help="by kind of work, on one rank")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)), help="ranks of a whole run")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for study in (one.resolve() for one in options.studies):
        if options.here:
            print(json.dumps(kinds_here(study, options.here)))
        elif options.kinds:
            by_kind(study)
        else:
            forecast, measured = foretold(study, options.cores), whole_run(study, options.cores)
            print(f"{study.stem}: load {os.getloadavg()[0]:.1f}; foretold, measured, measured / foretold")
            _line("processor", forecast["processor_seconds"], measured[0])
            _line("clock", forecast["clock_seconds"], measured[1])


if __name__ == "__main__":
    main()
