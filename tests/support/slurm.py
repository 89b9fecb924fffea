"""A Slurm of this machine's own (cluster/loopback) for tests, seen from outside through /proc."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import ENVIRONMENT, HANG, ROOT

SCRIPT = ROOT / "cluster" / "loopback"
SLURMS_OWN = ("SLURM", "SBATCH_", "SALLOC_", "SQUEUE_", "SINFO_", "RNNLIMITS_LOOPBACK_")
# An outer job's variables would be taken for this cluster's.
PLAIN = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(SLURMS_OWN)}


def missing() -> str | None:
    """Why cluster/loopback cannot start here, or None."""
    done = subprocess.run([SCRIPT, "check"], env=PLAIN, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip().removeprefix("loopback: ")


def command(folder: Path, *words: str, check: bool = True, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run `cluster/loopback WORDS` for the cluster in `folder`; settings: nodes=8 is RNNLIMITS_LOOPBACK_NODES=8."""
    named = {f"RNNLIMITS_LOOPBACK_{name.upper()}": str(value) for name, value in {"dir": folder, **settings}.items()}
    done = subprocess.run(
        [SCRIPT, *words], env={**PLAIN, **named}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=HANG
    )
    assert not check or done.returncode == 0, f"loopback {' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True)
class Loopback:
    """A running cluster: nodes lb1, lb2, ...; partitions cpu (default), gpu, urgent.

    folder: its state and logs. env: the environment in which sbatch, srun and MPI find it.
    """

    folder: Path
    env: dict[str, str]

    def run(self, *words: object, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command in the cluster's environment; options as subprocess.run, and 120 s unless told otherwise."""
        texts = [str(word) for word in words]
        settings: dict[str, Any] = {"env": self.env, "timeout": HANG, "stdin": subprocess.DEVNULL, **options}
        done = subprocess.run(texts, capture_output=True, text=True, **settings)
        assert not check or done.returncode == 0, f"{shlex.join(texts)}\n{done.stdout}\n{done.stderr}"
        return done

    def submit(self, script: str, *options: object) -> str:
        """sbatch a shell script (its text); returns the job's number."""
        words = ["sbatch", "--parsable", "--output=/dev/null", *options]
        return self.run(*words, stdin=None, input=f"#!/bin/bash\n{script}\n").stdout.strip()

    def state(self, job: str) -> str:
        """What squeue says of a job, also after it ended: PENDING, RUNNING, COMPLETED, NODE_FAIL, ..."""
        return self.run("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}").stdout.strip()

    def wait_for(self, job: str, *states: str, seconds: float = HANG) -> str:
        """Wait until a job is in one of the states."""
        end = time.monotonic() + seconds
        while (state := self.state(job)) not in states:
            assert time.monotonic() < end, f"job {job} is {state} after {seconds} s, not {' or '.join(states)}"
            time.sleep(0.2)
        return state

    def kill_node(self, name: str) -> None:
        """The node's daemon and all of its jobs' processes are killed; Slurm notices after about 20 s."""
        command(self.folder, "node-kill", name)

    def start_node(self, name: str) -> None:
        """The node comes back; returns when Slurm may use it."""
        command(self.folder, "node-start", name)


def environment(folder: Path) -> dict[str, str]:
    """The environment that `eval "$(cluster/loopback env)"` makes, with this Python first on PATH."""
    text = command(folder, "env").stdout
    shown = subprocess.run(["bash", "-c", f"{text}\nenv -0"], env=PLAIN, capture_output=True, text=True, check=True)
    return dict(entry.split("=", 1) for entry in shown.stdout.split("\0") if "=" in entry)


@contextmanager
def cluster(folder: Path, **settings: int) -> Iterator[Loopback]:
    """A cluster in `folder`, taken down at the end whatever happens."""
    try:
        command(folder, "up", **settings)
        yield Loopback(folder, environment(folder))
    finally:
        command(folder, "down")


def processes(folder: Path) -> dict[int, str]:
    """pid -> name of the processes that belong to the cluster in `folder`: its daemons, commands and jobs."""
    mark = f"SLURM_CONF={folder}/etc/slurm.conf".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0") and int(entry.name) != os.getpid():
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:  # it ended meanwhile, or is a zombie
            continue
    return found


def listening(pids: set[int]) -> dict[str, str]:
    """Addresses (as in /proc/net/tcp) of the listening TCP sockets that these processes hold -> who holds them."""
    names: dict[str, str] = {}
    for pid in pids:
        try:
            links = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue
        names |= dict.fromkeys(links, Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip())
    rows = [row.split() for table in ("tcp", "tcp6") for row in _lines(Path("/proc/net") / table)[1:]]
    sockets = {f"socket:[{row[9]}]": row[1] for row in rows if row[3] == "0A"}
    return {address: names[socket] for socket, address in sockets.items() if socket in names}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else [""]


PYTHON = sys.executable
