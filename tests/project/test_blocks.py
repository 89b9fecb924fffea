"""Every command and every code block of README and docs is run, checked, or excused with a stated reason.

Commands run as they stand in a workspace (workspace.py) whose studies are smaller than ours. Python blocks of a
page run in their order in one namespace; YAML is checked as a study, whole or laid over the demo; diffs are applied to
a copy of the sources, and what follows on their page runs with that copy; outputs are compared in their words, not
their numbers; MATLAB, Julia and R run where an interpreter is installed, and everywhere the files, variables and
attributes that they name must exist. A first line such as `# mine.yaml` names the file that a block is saved as.
What is not run says so: `<!-- not run: REASON -->` before the block, or the table COMMANDS of tests/support/blocks.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import blocks
import h5py
import nbformat
import pytest
import runs
import workspace
import yaml
from blocks import Block
from nbclient import NotebookClient
from workspace import Workspace, executed, help_of

SOFTWARE = re.compile(r"# (kernels|pipeline|tests)/")  # the first line of a block that is saved among the sources
PAGES = blocks.pages(runs.ROOT)
INTERPRETERS = {
    "matlab": ("octave-cli", ["--quiet", "--eval", "pkg load netcdf; source block.m"], "block.m"),
    "r": ("Rscript", ["block.R"], "block.R"),
    "julia": ("julia", ["block.jl"], "block.jl"),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A reader's folder with a finished demo."""
    made = Workspace(tmp_path_factory.mktemp("reader"))
    made.fill()
    done = made.run("rnnlimits run config/demo.yaml")
    assert done.returncode == 0, done.stderr
    return made


class Page:
    """Runs the blocks of one page, and counts what became of them."""

    def __init__(self, name: str, space: Workspace, stack: ExitStack) -> None:
        self.name, self.space, self._stack = name, space, stack
        self.tally: Counter[str] = Counter()
        self.printed = ""
        self._child: subprocess.Popen[str] | None = None

    def do(self, block: Block) -> None:
        """Run or check a block; fails with page and line."""
        if block.reason:
            self.tally[f"not run: {block.reason}"] += 1
            if block.kind == "foreign":
                self._names(block)
            return
        act = getattr(self, f"_{block.kind}", None)
        if act is None:
            pytest.fail(f"{block.where}: a block of {block.kind} is neither run nor excused; add <!-- not run: WHY -->")
        act(block)

    def _shell(self, block: Block) -> None:
        for command in blocks.commands(block.text):
            self._command(block, command)

    def _command(self, block: Block, command: str) -> None:
        if excused := blocks.excuse(command):
            why, further = excused
            self._look_up(block, command)
            if further:
                self._ended_well(block, f"{command} {further}")
            self.tally[f"not run: {why}"] += 1
            return
        self._ended_well(block, command)
        self.tally["run"] += 1

    def _ended_well(self, block: Block, command: str) -> None:
        done = self.space.run(command)
        self.printed += done.stdout + done.stderr
        assert done.returncode == 0, f"{block.where}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    def _inline(self, block: Block) -> None:
        """Looked up; one that is complete and only looks is run as well, and what it printed may be shown below it."""
        self._look_up(block, block.text)
        if blocks.only_looks(block.text) and blocks.excuse(block.text) is None:
            self._command(block, block.text)
        else:
            self.tally["checked"] += 1

    def _look_up(self, block: Block, command: str) -> None:
        """Verb, options and files of a command exist."""
        words = blocks.words(command)
        if words[0] == "rnnlimits":
            self._look_up_verb(block, words[1:])
        if words[0] == "make":
            targets = re.findall(r"^([\w-]+):", (runs.ROOT / "Makefile").read_text(), re.M)
            assert {word for word in words[1:] if "=" not in word} <= set(targets), f"{block.where}: {command}"
        if words[0] == "python" and words[1].endswith(".py"):
            program = (runs.ROOT / words[1]).read_text()
            assert all(word in program for word in words[2:] if word.startswith("--")), f"{block.where}: {command}"
        extras = re.search(r"pip install .*\[([\w,-]+)\]", command)
        assert not extras or set(extras[1].split(",")) <= EXTRAS, f"{block.where}: {command}"
        for word in words[1:]:
            path = word.split("=")[-1]
            if re.match(r"(config|cluster|docs|benchmarks|workflow|tests)/", path) and not blocks.is_placeholder(path):
                assert (self.space.root / path).exists(), f"{block.where}: {command}: no {path}"

    def _look_up_verb(self, block: Block, words: list[str]) -> None:
        verbs = [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]
        about = help_of(*verbs) or help_of(*verbs[:1])
        assert about is not None, f"{block.where}: rnnlimits has no verb {' '.join(verbs)}"
        known = set(re.findall(r"--[a-z][a-z-]*", about))
        used = {word.split("=")[0] for word in words[: [*words, "--"].index("--")] if word.startswith("--")}
        assert used <= known, f"{block.where}: {block.text}: no option {', '.join(used - known)}"

    def _python(self, block: Block) -> None:
        if self.name not in RUN_BY_OTHERS and self._saved(block) is None:
            if self._child is None:
                self._child = self._stack.enter_context(self.space.python())
            printed, error = executed(self._child, block.text, block.where)
            self.printed += printed
            assert not error, f"{block.where}:\n{error}"
        self.tally["run"] += 1

    def _saved(self, block: Block) -> Path | None:
        """Where the first line says that a block is saved."""
        named = re.match(r"# ([\w./-]+\.\w+)\n", block.text)
        if named is None:
            return None
        path = self.space.root / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        if SOFTWARE.match(block.text):
            self.space.forget()
        return path

    def _yaml(self, block: Block) -> None:
        path, value = self._saved(block), yaml.safe_load(block.text)
        if path is None:
            base = yaml.safe_load((self.space.root / "config" / "demo.yaml").read_text())
            path = self.space.root / "fragment.yaml"
            path.write_text(yaml.safe_dump(workspace.laid_over(base, value)))
        if {"chain", "experiment"} & set(yaml.safe_load(path.read_text())):
            self.space.forget(path.name)
            self._ended_well(block, f"rnnlimits check {path.relative_to(self.space.root)}")
        self.tally["run"] += 1

    def _json(self, block: Block) -> None:
        json.loads(block.text)
        self.tally["checked"] += 1

    def _diff(self, block: Block) -> None:
        """Applied with the context that it shows; the numbers of its lines may be old."""
        command = ["git", "apply", "-C1", "-"]
        # The folder may lie below some clone: git would take the paths for that clone's.
        ceiling = {**os.environ, "GIT_CEILING_DIRECTORIES": str(self.space.root.parent)}
        where: dict[str, Any] = {"cwd": self.space.root, "env": ceiling}
        done = subprocess.run(command, input=block.text, text=True, capture_output=True, check=False, **where)
        assert done.returncode == 0, f"{block.where}: {done.stderr}"
        self.space.forget()
        self.tally["run"] += 1

    def _foreign(self, block: Block) -> None:
        self._names(block)
        program, words, name = INTERPRETERS[block.language.lower()]
        if shutil.which(program) is None:
            self.tally["checked"] += 1
            return
        (self.space.root / name).write_text(block.text)
        done = subprocess.run([program, *words], cwd=self.space.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.where}: {done.stderr}"
        self.tally["run"] += 1

    def _names(self, block: Block) -> None:
        """Every quoted file exists, and every other quoted word is a variable or an attribute in one, or the mode r."""
        quoted = re.findall(r"""["']([^"'\n]+)["']""", block.text)
        paths = [self.space.root / word for word in quoted if word.endswith(".h5")]
        known: set[str] = set()
        for path in paths:
            assert path.exists(), f"{block.where}: {path} does not exist"
            with h5py.File(path) as file:
                known |= {*file, *file.attrs} | {name for data in file.values() for name in data.attrs}
        wrong = {word for word in quoted if not word.endswith(".h5") and word.strip("/ ") not in {*known, "", "r"}}
        assert not wrong, f"{block.where}: {wrong} not in {', '.join(map(str, paths))}"

    def _tree(self, block: Block) -> None:
        """A listing of folders: those of the repository exist, and what a study writes is there."""
        top, *rest = block.text.splitlines()
        study = top.startswith("results/")
        if study:
            self._ended_well(block, "rnnlimits run config/rntk.yaml")
        for line in rest if study else [top, *rest]:
            name = line.split()[0]
            pattern = re.sub(r"PACK|CELL|ID(?=[/_])|\d{3,}", "*", name).rstrip("/,")
            folders = [runs.ROOT] if not study else [self.space.root / "results" / n for n in ("demo", "rntk")]
            known = any(any(folder.glob(pattern)) for folder in folders)
            assert known or name in OF_OTHER_RUNS, f"{block.where}: no {name}"
        self.tally["checked"] += 1

    def _output(self, block: Block) -> None:
        """The first words of each line were printed by a command of this page, numbers aside."""
        printed = _plain(self.printed)
        for line in block.text.splitlines():
            cells = re.split(r"\s{2,}", line.strip())
            first = "[#]" if line.strip().startswith("[") else " ".join(_plain(cells[0]).split()[:3])
            assert line.strip() in ("", "...") or first in printed, f"{block.where}: nothing printed {first!r}"
        self.tally["checked"] += 1

    def _formula(self, block: Block) -> None:
        assert not blocks.is_shell(block.text), f"{block.where}: a command among equations"

    def _directive(self, block: Block) -> None:
        """Of the documentation site, whose own build checks it."""


EXTRAS = set(tomllib.loads((runs.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
# Pages whose Python blocks another test runs, on files of its own.
RUN_BY_OTHERS = {"docs/format.md": "tests/files/test_format.py"}
# In the listing of docs/format.md, and not of a study that has just ended.
OF_OTHER_RUNS = {
    "checkpoints/PACK_CELL_ID/replicas-00000-00015.h5",
    "checkpoints/twin-K00064_ID/paths-00000-00015.h5",
    "checkpoints/rich-K00064-eps0.353553391_ID/paths-00000-00015.h5",
    "memory.csv",
}


def _plain(text: str) -> str:
    """Numbers as #, white space as one blank."""
    return re.sub(r"\s+", " ", re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", text))


@pytest.mark.needs_compiler
@pytest.mark.needs_mpi
@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_a_page_is_run_or_excused(
    name: str, reader: Workspace, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = blocks.blocks(name, (runs.ROOT / name).read_text(encoding="utf-8"))
    changes = any(block.kind == "diff" or SOFTWARE.match(block.text) for block in found)
    space = reader.copy(tmp_path / "changed") if changes else reader
    with ExitStack() as stack:
        page = Page(name, space, stack)
        for block in found:
            page.do(block)
    record_property("blocks", (name, dict(page.tally)))


def test_no_excuse_is_left_without_a_command() -> None:
    """A line of COMMANDS that excuses nothing any more goes."""
    every = [block for name in PAGES for block in blocks.blocks(name, (runs.ROOT / name).read_text(encoding="utf-8"))]
    lines = [line for block in every if block.kind in ("shell", "inline") for line in blocks.commands(block.text)]
    assert [pattern for pattern in blocks.COMMANDS if not any(re.search(pattern, line) for line in lines)] == []


@pytest.mark.needs_compiler
@pytest.mark.needs_mpi
def test_the_notebook_runs_beside_a_finished_demo(reader: Workspace) -> None:
    """All cells, the comparisons with the table that they assert among them, from top to bottom; two figures."""
    place = reader.root / "docs" / "tutorial"
    notebook = nbformat.read(place / "finished-demo.ipynb", as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(notebook, timeout=workspace.LONGEST, resources={"metadata": {"path": str(place)}})
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert len([output for output in shown if "image/png" in output.get("data", {})]) == 2
