"""What the project promises about itself: dependencies in step, clean checks, a CI that calls the README's command."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import architecture
import blocks
import pytest
import yaml
from runs import ENVIRONMENT, ROOT

CONDA_NAMES = {"snakemake": "snakemake-minimal"}
CODE = [*sorted((ROOT / "pipeline").rglob("*.py")), *sorted((ROOT / "kernels").rglob("*.py"))]


def test_environment_yml_names_the_same_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {}
    for requirement in project["dependencies"]:
        name, version = re.fullmatch(r"([a-z0-9-]+)(>=[\d.]+)", requirement).groups()
        wanted[CONDA_NAMES.get(name, name)] = version
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = dict(re.fullmatch(r"([a-z0-9-]+)(.*)", requirement).groups() for requirement in conda)
    assert found.pop("python") == project["requires-python"]
    assert found.pop("cxx-compiler") == ""
    assert found == wanted


def test_environment_yml_offers_the_same_cupy() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for cuda in ("12", "13"):
        (requirement,) = extras[f"gpu-cuda{cuda}"]
        version = requirement.removeprefix(f"cupy-cuda{cuda}x[ctk]")
        assert f"  # - cupy{version} " in (ROOT / "environment.yml").read_text()
    assert f"cupy-cuda13x{version}" in extras["test"]


def test_every_dependency_has_a_reason() -> None:
    for name in ("pyproject.toml", "environment.yml"):
        lines = (ROOT / name).read_text().splitlines()
        listed = [line for line in lines if re.match(r'\s+"[a-zA-Z0-9-]+(\[[a-z]+\])?>=|\s+- [a-z0-9-]+>=', line)]
        assert len(listed) > 8
        for line in listed:
            assert "#" in line or "python>=" in line, f"{name}: {line} does not say what it is for"


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=lambda words: " ".join(words)
)
def test_clean(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_of_tests_have_names_of_their_own() -> None:
    """pytest imports them by their names alone: of two it would refuse one."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_ci_calls_the_readmes_test_command() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\nmake test")
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name}"


# Stages meet in files: none imports another. Which package may import which is held by test_architecture.py.
STAGES = {
    *(f"rnnlimits.training.{name}" for name in ("draw", "train", "twin", "rich", "constants", "limit")),
    *("rnnlimits.rates.stage", "rnnlimits.figures.rates"),
}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_stages_do_not_import_one_another(stage: str) -> None:
    modules = architecture.modules()
    imported = architecture.imports(modules[stage].read_text(), modules)
    assert not imported & (STAGES - {stage})


def test_kernels_do_not_import_the_pipeline() -> None:
    for path in (ROOT / "kernels").rglob("*.py"):
        assert not re.search(
            r"^\s*(from|import) rnnlimits(?!\.kernels| import kernels)", path.read_text(), flags=re.MULTILINE
        ), path


# --- Markdown --------------------------------------------------------------------------------------------------

PROSE_WIDTH = 100
BLOCK = re.compile(r"^\s*(#|\||```|~~~|<|:::|\[[^\]]+\]:|\([\w-]+\)=)")  # headings, tables, HTML, directives, targets
IMAGE = re.compile(r"^\s*!\[.*\]\(.*\)$")
# What no line break may divide, with the characters that touch it: code spans, math, links, words.
ATOM = re.compile(r"(?:`+[^`]+`+|\$[^$]+\$|!?\[[^\]]*\]\([^)]*\)|\S)+")
# Paths in the repository and modules of the package, wherever a page names them. One after {, * or < is a pattern.
NAMED_PATH = re.compile(r"(?<![\w/.<-])(?:benchmarks|cluster|config|docs|kernels|pipeline|src|tests|workflow)/[\w./-]+")
NAMED_MODULE = re.compile(r"\brnnlimits(?:\.\w+)+")
# Files that a page asks its reader to create: the first line of a block, the new side of a diff, the target of cp.
CREATED = re.compile(r"^# (?=\w+/)([\w./-]+\.\w+)$|^\+\+\+ b/(\S+)$|^ +cp .* (\S+)$", re.MULTILINE)
BUILT = ("docs/_build/", "docs/reference/generated/")


def markdown() -> list[Path]:
    """Every tracked Markdown file; in an unpacked archive, those in folders that have some."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    folders = ("benchmarks", "cluster", "config", "docs")
    return [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*.md"))]


PAGES = [str(path.relative_to(ROOT)) for path in markdown()]


def prose(page: str) -> list[tuple[int, str]]:
    """The numbered lines of a page that are neither code, tables, headings, images nor displayed math."""
    lines, code = (ROOT / page).read_text(encoding="utf-8").splitlines(), set[int]()
    for first, last, *_ in blocks.cut(lines):
        code |= set(range(first, last))
    in_math, numbered = False, []
    for number, line in enumerate(lines):
        if line.strip().startswith("$$"):
            in_math = not in_math
        elif not (number in code or in_math or BLOCK.match(line) or IMAGE.match(line)):
            numbered.append((number + 1, line))
    return numbered


@pytest.mark.parametrize("page", PAGES)
def test_prose_is_at_most_100_columns_wide(page: str) -> None:
    """A single word, link or code span that is wider may stand alone on its line."""
    wide = [
        f"{page}:{number}: {len(line)} columns, allowed: {PROSE_WIDTH}; wrap the paragraph"
        for number, line in prose(page)
        if len(line) > PROSE_WIDTH and len(ATOM.findall(line)) > 1
    ]
    assert wide == []


@pytest.mark.parametrize("page", PAGES)
def test_paths_and_modules_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    created = {name for names in CREATED.findall(text) for name in names if name}
    modules = {*architecture.modules(), *(_module(name) for name in created)}
    missing = []
    for number, line in enumerate(text.splitlines(), 1):
        paths = {match.rstrip("./-") for match in NAMED_PATH.findall(line)}
        missing += [f"{page}:{number}: no {path}" for path in paths if not _exists(path, created)]
        names = {match for match in NAMED_MODULE.findall(line) if not _is_name(match, modules)}
        missing += [f"{page}:{number}: no {name}" for name in names]
    assert missing == []


def _exists(path: str, created: set[str]) -> bool:
    if f"{path}/".startswith(BUILT) or any(f"{path}/".startswith(f"{name}/") for name in created):
        return True
    return (ROOT / path).exists()


def _module(path: str) -> str:
    """The module in a file of the repository: rnnlimits.study.mean for pipeline/study/mean.py."""
    start = {"pipeline": "rnnlimits", "kernels": "rnnlimits.kernels"}.get(path.split("/")[0], "")
    return ".".join([start, *Path(path).with_suffix("").parts[1:]])


def _is_name(name: str, modules: set[str]) -> bool:
    """Whether a dotted name is a module, or what a module defines or imports."""
    name = re.sub(r"^rnnlimits\.rntk\b", "rnnlimits.library.rntk", name)  # a public name, imported at first use
    if name in modules or name == ENTRY_POINTS:
        return True
    home, _, last = name.rpartition(".")
    if home not in modules:
        return False
    path = architecture.modules().get(home)
    return path is None or re.search(rf"\b{last}\b", path.read_text(encoding="utf-8")) is not None


ENTRY_POINTS = "rnnlimits.activations"  # a group of entry points, no module


def test_the_index_links_every_how_to() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [f"howto/{path.name}" for path in sorted((ROOT / "docs" / "howto").glob("*.md"))]
    assert len(pages) > 10
    assert [page for page in [*pages, "library.md", "glossary.md"] if f"]({page})" not in index] == []
