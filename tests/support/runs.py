"""Running the command line for real, on small studies."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
PROGRAM = [sys.executable, "-P", "-m", "rnnlimits"]  # -P: it need not replace itself by a fresh process
# Seconds after which a test ends what hangs; nothing may pass or fail by being faster than this.
HANG = 1800
MPIEXEC = str(Path(sys.executable).parent / "mpiexec")
# No GPU: what these tests compare is the host.
ENVIRONMENT = {
    **os.environ,
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": str(ROOT / "src"),
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}

TINY = {
    "name": "tiny",
    "seed": 7,
    "chain": {"kind": "coupled-tanh"},
    "target": {"sin_x": 1.0, "z": 0.5},
    "training": {
        "beta": [0.75],
        "width": [16, 33],
        "replicas": 8,
        "replicas_per_block": 2,
        "horizon": 1.0,
        "checkpoints": [0.0, 1.0],
        "loss_bins": 4,
    },
    "probes": {"count": 4, "length": 10},
    "draws": {"blocks": 2, "chains": 8, "steps": 20, "couplings": 4, "coupling_steps": 10, "sample": 2},
    "limit": {"nodes": 16},
}


TINY_RNTK: dict[str, Any] = {
    "experiment": "rntk",
    "name": "tiny-rntk",
    "seed": 3,
    "networks": [{"activation": "erf", "layers": [1, 2], "sigma_h": 0.3}],
    "sequences": {"lengths": [3, 4, 2], "dimension": 2},
    "fluctuation": {"width": [8, 16], "replicas": 40},
    "bias": {"width": [8], "replicas": 50},
    "training": {"width": [16], "replicas": 12, "trained": 2, "steps": 6, "step_ladder": [16, 32, 64, 128]},
    "weights": {"length": 8, "sigma_w": [1.0, 1.5], "sequences": 3},
}


def write_rntk(folder: Path, **changes: Any) -> Path:
    """Write a study file of the recurrent NTK: TINY_RNTK with top-level keys replaced."""
    path = folder / "tiny-rntk.yaml"
    path.write_text(yaml.safe_dump({**TINY_RNTK, **changes}))
    return path


def write_study(folder: Path, base: dict[str, object] = TINY, **changes: object) -> Path:
    """Write a study file: `base` with top-level keys replaced, or, for mappings, updated."""
    study = {**base}
    for key, value in changes.items():
        old = study.get(key)
        study[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    path = folder / f"{study['name']}.yaml".replace("/", "_")
    path.write_text(yaml.safe_dump(study))
    return path


def write_recorded(folder: Path, **changes: object) -> Path:
    """Like `write_study`, of a recorded series: a whole run takes half the time, as it has no Poisson equation."""
    rows = (f"{math.sin(3.1 * step * step)!r},{math.cos(1.7 * step)!r}" for step in range(40))
    (folder / "series.csv").write_text("\n".join(["p,q", *rows, ""]))
    chain = {"kind": "recorded", "file": "series.csv", "columns": ["p", "q"]}
    base = {key: value for key, value in TINY.items() if key != "target"}
    return write_study(folder, {**base, "chain": chain}, **changes)


def run(*words: object, ranks: int = 0, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `rnnlimits WORDS`, under mpiexec if ranks are given. With check, a failure shows its stderr."""
    start = [MPIEXEC, "-n", str(ranks)] if ranks else []
    command = [*start, *PROGRAM, *(str(word) for word in words)]
    settings = {"env": ENVIRONMENT, "timeout": HANG, **options}
    done = subprocess.run(command, capture_output=True, text=True, **settings)  # type: ignore[call-overload]
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def digests(results: Path, part: str = "train") -> dict[str, str]:
    """Digest of each file below results/STUDY/part."""
    lines = run("digest", results / part).stdout.splitlines()
    return {path: digest for digest, path in (line.split(maxsplit=1) for line in lines)}
