"""What the parts of a study of trainings cost beside the trainings' own kernels, in seconds of the processor.

    python benchmarks/overhead.py                      # config/demo.yaml, two minutes on a core
    python benchmarks/overhead.py --study mine.yaml --stages rich tangents

Each stage runs in a process of its own on one rank, as `rnnlimits work` does, and its processor time (user and system)
is divided into kernels, the rest of computing (paths, records), shards, ensembles, and the start of the process. The
last line gives each as a share of that of the trainings' kernels.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

STAGES = ("draw", "twin", "rich", "tangents", "train")
KINDS = ("kernels", "computing", "shards", "ensembles", "start")
METHODS = ("fill", "fill_from", "weigh", "run", "settle", "probe", "weights", "drift", "drift_norms", "square_drifts")


class Clocks:
    """Processor time by kind; what is measured inside another measurement counts only for the inner one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._kinds, self._since = ["start"], 0.0

    def _switch(self) -> None:
        now = time.process_time()
        self.seconds[self._kinds[-1]] += now - self._since
        self._since = now

    def around(self, kind: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """The function, measured."""

        @functools.wraps(act)
        def measured(*args: Any, **named: Any) -> Any:
            self._switch()
            self._kinds.append(kind)
            try:
                return act(*args, **named)
            finally:
                self._switch()
                self._kinds.pop()

        return measured

    def stop(self) -> dict[str, float]:
        """All seconds so far."""
        self._switch()
        return dict(self.seconds)


def measure_here(stage: str, study_file: Path, results: Path) -> dict[str, float]:
    """Run the parts of a stage in this process; returns seconds of the processor by kind, and of the wall clock."""
    clocks, began = Clocks(), time.perf_counter()
    from mpi4py import MPI

    from rnnlimits import experiments, kernels
    from rnnlimits.kernels import host, host_tangents
    from rnnlimits.ranks import sharded
    from rnnlimits.study import load_any

    for team in (host.HostTrainer, host_tangents.HostTangents):
        for name in METHODS:
            if hasattr(team, name):
                setattr(team, name, clocks.around("kernels", getattr(team, name)))
    for name in ("chain_path", "finite_path", "memory_path", "twin_path", "add_moments"):
        setattr(host.HostBackend, name, clocks.around("kernels", getattr(host.HostBackend, name)))
    sharded.write_shard = clocks.around("shards", sharded.write_shard)
    run = sharded.run

    def timed(comm: MPI.Intracomm, of: Any) -> None:
        compute, join = clocks.around("computing", of.compute), clocks.around("ensembles", of.join)
        run(comm, dataclasses.replace(of, compute=compute, join=join))

    sharded.run = timed
    be = kernels.backend("host")
    for part in experiments.of(load_any(study_file), results).parts():
        if stage in (part.command, part.name):
            part.run(MPI.COMM_WORLD, be)
    return {**clocks.stop(), "wall": time.perf_counter() - began}


def measured(stage: str, study_file: Path, results: Path) -> dict[str, float]:
    """Like `measure_here`, in a new process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--here", stage, "--study", str(study_file)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command += ["--results", str(results)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=one_thread)
    return dict(json.loads(found.stdout.splitlines()[-1]))


def table(stages: list[str], study_file: Path, results: Path) -> None:
    """Print a line for each stage as it ends, then the shares."""
    print(f"{'stage':9s}" + "".join(f"{kind:>11s}" for kind in (*KINDS, "processor", "wall")), flush=True)
    total, of_kernels = {}, None
    for stage in stages:
        seconds = measured(stage, study_file, results)
        total[stage] = sum(seconds.get(kind, 0.0) for kind in KINDS)
        row = [*(seconds.get(kind, 0.0) for kind in KINDS), total[stage], seconds["wall"]]
        print(f"{stage:9s}" + "".join(f"{value:9.2f} s" for value in row), flush=True)
        if stage == "train":
            of_kernels = seconds["kernels"]
    if of_kernels:
        shares = {stage: seconds / of_kernels for stage, seconds in total.items()}
        print(*(f"{stage} {share:.3f}" for stage, share in shares.items()), sep=", ", end=" ")
        print(f"of the trainings' kernels; rich and tangents {shares.get('rich', 0) + shares.get('tangents', 0):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=ROOT / "config" / "demo.yaml", help="a study of trainings")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--here", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help="folder of all results (default: a temporary one)")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure_here(options.here, options.study, options.results)))
        return
    with tempfile.TemporaryDirectory() as folder:
        table(options.stages, options.study, options.results or Path(folder))


if __name__ == "__main__":
    main()
