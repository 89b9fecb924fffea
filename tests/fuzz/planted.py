"""Plants faults in copies of this tree, and says after how many draws each is found:  python tests/fuzz/planted.py

A draw counts only if the tree itself passes it. Exit code 1 if a fault is not found within MOST draws.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COPIED = ("cluster", "config", "kernels", "pipeline", "src", "tests", "workflow")
MOST = 8000
NO_IDENTITY = """

_careful = open_complete


@contextmanager
def open_complete(path, kind, **expected):
    with _careful(path, kind, **{name: value for name, value in expected.items() if not name.endswith("_id")}) as file:
        yield file
"""


@dataclass(frozen=True)
class Planted:
    """A fault: what it is called, the kinds of draws that may meet it, and what plants it in a copy of the tree."""

    name: str
    kinds: tuple[str, ...]
    plant: Callable[[Path], None]


def replaced(folder: str, pattern: str, by: str) -> Callable[[Path], None]:
    """Plants a fault by replacing text in the modules of a folder. Raises ValueError where none has it."""

    def plant(tree: Path) -> None:
        count = 0
        for path in (tree / folder).glob("*.py"):
            text, found = re.subn(pattern, by, path.read_text(encoding="utf-8"))
            path.write_text(text, encoding="utf-8")
            count += found
        if not count:
            raise ValueError(f"no module of {folder} has {pattern}")

    return plant


def identities_not_compared(tree: Path) -> None:
    """A file of another study is opened as if it were of this one."""
    with (tree / "pipeline" / "files" / "reading.py").open("a", encoding="utf-8") as module:
        module.write(NO_IDENTITY)


PLANTED = (
    Planted("a fill value let through", ("netcdf_file",), replaced("pipeline/chains", '"_FillValue"', '"_Unfilled"')),
    Planted("an identity not compared", ("damaged_results",), identities_not_compared),
    Planted("an encoding assumed", ("csv_file",), replaced("pipeline/chains", "utf-8-sig", "latin-1")),
)


def copy_to(folder: Path) -> Path:
    """A copy of the tree."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def first_fault(tree: Path, kind: str, seed: int, start: int, end: int) -> tuple[int, str] | None:
    """Index of the first draw of this kind that is a fault, and what it says."""
    words = ["--seed", seed, "--from", start, "--draws", end - start, "--kind", kind, "--first"]
    command = [sys.executable, str(tree / "tests" / "fuzz"), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if found := re.search(r"^FAULT (.*)$(?:.|\n)*?--draw (\d+)$", done.stdout, flags=re.MULTILINE):
        return int(found[2]), found[1]
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-1000:])
    return None


def found(planted: Planted, seed: int) -> str | None:
    """After how many draws the fault is found, in words; None if it is not."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = copy_to(Path(folder))
        planted.plant(tree)
        for kind in planted.kinds:
            start = 0
            while start < MOST and (fault := first_fault(tree, kind, seed, start, MOST)):
                index, said = fault
                if first_fault(ROOT, kind, seed, index, index + 1) is None:
                    return f"{planted.name}: found after {index + 1} draws of all kinds ({said[:160]})"
                start = index + 1
    return None


def main() -> int:
    """Plant each fault in turn; returns the exit code."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    lines = [found(planted, seed) or f"{planted.name}: NOT FOUND in {MOST} draws" for planted in PLANTED]
    print(*lines, sep="\n")
    return int(any("NOT FOUND" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
