"""A folder like a reader's: a clone with a finished demo, where the commands of the pages are run.

The studies in its config/ are SMALLER than ours: fewer replicas and widths, so that commands keep their literal text
and take seconds. Numbers therefore differ from those that pages show; names, files and tables do not.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import runs
import yaml
from runs import HANG

from rnnlimits import cli

COPIED = ("benchmarks", "cluster", "config", "docs", "kernels", "pipeline", "src", "tests", "workflow")
COPIED_FILES = ("Makefile", "README.md", "CITATION.cff", "pyproject.toml", "environment.yml")
FEW: dict[str, Any] = {"width": [32, 64, 128, 256], "replicas": 32, "replicas_per_block": 16}
LADDER = {"beta": [0.75], "width": [128], "steps_per_time": [16, 32, 64, 128], "replicas": 32}
FEW_DRAWS = {"steps": 100, "blocks": 8, "chains": 32, "couplings": 16}
FEW_NETWORKS: dict[str, Any] = {
    "networks": [{"activation": "relu", "layers": [1], "sigma_h": 0.3}],
    "sequences": {"lengths": [3, 4, 5]},
    "fluctuation": {"width": [16, 32, 64, 128], "replicas": 64},
    "bias": {"width": [8, 16], "replicas": 64},
    "training": {"width": [16, 32, 64, 128], "replicas": 16, "trained": 2, "steps": 6},
    "weights": {"length": 8, "sigma_w": [1.0, 1.5], "sequences": 3},
}
SMALLER: dict[str, dict[str, Any]] = {
    "config/demo.yaml": {"training": {**FEW, "ladders": [LADDER]}, "draws": FEW_DRAWS},
    "config/recorded.yaml": {"training": {**FEW, "ladders": []}},
    "config/rntk.yaml": FEW_NETWORKS,
    "config/rntk-rates.yaml": FEW_NETWORKS,
}
EDITORS = ("sed ", "cp ")
LONGEST = HANG
# Reads {"code", "name"} as a line of JSON, runs it in one namespace, answers with what it printed and its traceback.
PYTHON = """
import contextlib, io, json, sys, traceback
space = {"__name__": "__main__"}
for line in sys.stdin:
    block, out, error = json.loads(line), io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(block["code"], block["name"], "exec"), space)
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps([out.getvalue(), error]), flush=True)
"""


class Workspace:
    """A folder with our files, smaller studies, and commands that run the copy of the software that lies in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ran: dict[str, subprocess.CompletedProcess[str]] = {}

    def fill(self) -> None:
        """Copy what a clone has, and make its studies smaller."""
        for name in COPIED:
            made = ["__pycache__", "_build", "*.so", *(["results"] if name != "pipeline" else [])]  # a package there
            ignored = shutil.ignore_patterns(*made)
            shutil.copytree(runs.ROOT / name, self.root / name, symlinks=True, ignore=ignored)
        for name in COPIED_FILES:
            shutil.copy(runs.ROOT / name, self.root / name)
        for name, changes in SMALLER.items():
            path = self.root / name
            path.write_text(yaml.safe_dump(laid_over(yaml.safe_load(path.read_text()), changes), sort_keys=False))
        self._install()

    def copy(self, root: Path) -> Workspace:
        """Another one, for a page that changes the software."""
        shutil.copytree(self.root, root, symlinks=True)
        other = Workspace(root)
        other._install()
        return other

    def _install(self) -> None:
        """What `make demo` leaves: .venv with the commands, and the marks of what is installed."""
        folder = self.root / ".venv" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for name, start in (("python", ""), ("rnnlimits", " -m rnnlimits")):
            (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{start} "$@"\n')
            (folder / name).chmod(0o755)
        (folder / "activate").touch()
        for mark in (".installed", ".installed-docs", ".installed-slurm", ".installed-test"):
            (folder.parent / mark).touch()

    @property
    def environment(self) -> dict[str, str]:
        """As in an activated environment; no GPU, no colours, plots to files."""
        path = [str(self.root / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        own = {
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": str(self.root / "src"),
            "MPLBACKEND": "agg",
            "NO_COLOR": "1",
        }
        return {**runs.ENVIRONMENT, **own, "MPLBACKEND": "agg", "NO_COLOR": "1"}

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command line, once until a file that it names is edited; later calls return what it did."""
        if command.startswith(EDITORS):
            self.forget(command.split()[-1])
        if command not in self._ran:
            settings: dict[str, Any] = {"cwd": self.root, "env": self.environment, "start_new_session": True}
            pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
            child = subprocess.Popen(["bash", "-c", command], text=True, **pipes, **settings)
            try:
                out, error = child.communicate(timeout=LONGEST)
            except BaseException:
                os.killpg(child.pid, signal.SIGTERM)  # which `rnnlimits run` passes on to all that it started
                child.wait(timeout=HANG)
                raise
            self._ran[command] = subprocess.CompletedProcess(command, child.returncode, out, error)
        return self._ran[command]

    def forget(self, name: str = "") -> None:
        """Run again what was run, where it names a file that has changed (default: all)."""
        self._ran = {command: done for command, done in self._ran.items() if name not in command}

    @contextmanager
    def python(self) -> Iterator[subprocess.Popen[str]]:
        """A Python in which the blocks of a page are run, see `executed`."""
        command = [sys.executable, "-W", "error", "-c", PYTHON]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=self.root, env=self.environment, **pipes) as child:
            try:
                yield child
            finally:
                child.kill()


def executed(child: subprocess.Popen[str], code: str, name: str) -> tuple[str, str]:
    """What a block printed, and its traceback or ""."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps({"code": code, "name": name}) + "\n")
    child.stdin.flush()
    out, error = json.loads(child.stdout.readline())
    return out, error


def laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A study with some keys replaced; within the sections training and draws only those that are given."""
    kept = {key: {**base[key], **changes[key]} for key in ("training", "draws") if key in base and key in changes}
    if "experiment" in base:
        kept = {}
    return {**base, **changes, **kept}


@cache
def help_of(*verbs: str) -> str | None:
    """The help of a verb, or None where there is no such verb."""
    out = io.StringIO()
    try:
        with redirect_stdout(out):
            cli.main([*verbs, "--help"])
    except SystemExit as end:
        return out.getvalue() if end.code == 0 else None
    return None
