"""What the project promises about itself: dependencies in step, clean checks, a CI that calls the README's command."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import architecture
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


def test_ci_calls_the_readmes_test_command() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\nmake test")
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name}"


# Stages meet in files: none imports another. Which package may import which is held by test_architecture.py.
STAGES = {
    *(f"rnnlimits.training.{name}" for name in ("draw", "train", "twin", "constants", "limit")),
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
