"""Whole runs of the program: in calm surroundings once, and in drawn ones, judged by the digests of the calm one."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import small_results
from draws import OK, REFUSED, Draw, Fault, required
from runs import HANG, ROOT
from small_results import RESULTS, digests

# As the command is installed: -P, so that Python does not look into the working folder.
PROGRAM = [sys.executable, "-P", "-m", "rnnlimits"]
TABLE_ONLY = ("--", "--until", "rates")  # no figures, no report: they take most of the time of so small a study
# Lines on stderr of a run that goes well: progress, and what it says about what it does.
PROGRESS = re.compile(r"(draw|train|twin)\b.*(unit-steps|draws).* in .*|.*; .* is made again$")


def write_study(folder: Path, **changes: Any) -> Path:
    """The tiniest study: one width, few steps."""
    training = {"width": [4], "replicas": 4, "replicas_per_block": 2, **changes.pop("training", {})}
    return small_results.write_study(folder, training=training, **changes)


@dataclass
class Run:
    """One start of the program: variables, words, where, limits, and where its output goes."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    study: str = "drawn.yaml"
    results: str = "results"
    limits: dict[int, int] = field(default_factory=dict)
    prepared: Callable[[], None] = lambda: None

    @property
    def words(self) -> list[str]:
        """The command line."""
        return [
            *PROGRAM,
            "run",
            self.study,
            "--results",
            self.results,
            "--cores",
            "1",
            "--backend",
            "numpy",
            *TABLE_ONLY,
        ]

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own."""

        def limit() -> None:
            for which, soft in self.limits.items():
                hard = resource.getrlimit(which)[1]
                resource.setrlimit(which, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
            self.prepared()

        return subprocess.Popen(
            self.words, cwd=self.folder, env=base_environment() | self.environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit,
        )  # fmt: skip

    def end(self, child: subprocess.Popen[bytes]) -> tuple[int, str, str]:
        """Exit code, stdout and stderr. Raises Fault for a hang."""
        try:
            out, err = child.communicate(timeout=HANG)
        except subprocess.TimeoutExpired:
            kill(child)
            raise Fault(f"hangs: not finished after {HANG} s") from None
        return child.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    def judge(self, changes: dict[str, Any] | None = None) -> str:
        """Run it; compare its results with those of the calm run of the same study."""
        code, _, err = self.end(self.start())
        if code == 2:
            lines = [line for line in err.splitlines() if line.strip() and not PROGRESS.match(line)]
            each = bool(lines) and all(line.startswith("rnnlimits: ") for line in lines)
            for refusal in lines if each else ["\n".join(lines)]:  # each stage that is refused says why
                required(refusal)
            return REFUSED
        if code != 0:
            raise Fault(f"exit code {code}: {' | '.join(err.splitlines()[-3:])[-400:]}")
        if "Traceback" in err:
            raise Fault(f"exit code 0, and a traceback: {err[-300:]!r}")
        self.compare(calm_digests(json.dumps(changes or {})))
        return OK

    def compare(self, expected: dict[str, str]) -> None:
        """Raises Fault unless the results have these digests."""
        found = digests(self.folder / os.fsdecode(self.results) / small_results.STUDY["name"])
        if different := [name for name, digest in expected.items() if found.get(name) != digest]:
            raise Fault(f"exit code 0, and another digest than in calm surroundings: {', '.join(different)}")


def kill(child: subprocess.Popen[bytes]) -> None:
    """End every process of its session, whatever its group, without a word: as a node that goes down."""
    for process in (child.pid, *_of_session(child.pid)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _of_session(session: int) -> list[int]:
    """Processes that are left of a session, whatever their group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and int(entry.name) != session:
            found.append(int(entry.name))
    return found


@cache
def base_environment() -> dict[str, str]:
    """Calm surroundings: what the program needs, and nothing else."""
    home = small_results.temporary()
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {
        "PATH": folders, "HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": "",
        "LANG": "C.UTF-8", "RNNLIMITS_QUIET_SECONDS": "off",
    }  # fmt: skip


@cache
def calm_folder(changes: str) -> Path:
    """A folder with a run of the study, with these keys changed (as JSON), in calm surroundings."""
    folder = small_results.temporary()
    write_study(folder, **json.loads(changes))
    run = Run(folder)
    code, _, err = run.end(run.start())
    if code != 0:
        raise Fault(f"exit code {code} in calm surroundings: {err[-300:]}")
    return folder


@cache
def calm_digests(changes: str) -> dict[str, str]:
    return digests(calm_folder(changes) / RESULTS)


def fresh(draw: Draw) -> Run:
    """A run in a folder with nothing but the study."""
    write_study(draw.folder)
    return Run(draw.folder)


def finished(draw: Draw) -> Run:
    """A run in a copy of the calm run's folder."""
    shutil.copytree(calm_folder("{}"), draw.folder, symlinks=True, dirs_exist_ok=True)
    return Run(draw.folder)
