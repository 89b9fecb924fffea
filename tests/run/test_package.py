"""Wheel and sdist: what is in them, and a study run from the wheel where the clone cannot be found."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from runs import HANG, ROOT, TINY, run, write_recorded, write_study

pytestmark = [pytest.mark.workflow, pytest.mark.needs_mpi]

SHARE = "rnnlimits/share/"
OWN = {"rnnlimits"}  # the packages that come with the wheel
STUDY = {"draws": {**TINY["draws"], "blocks": 2}, "quantities": "own.py"}
QUANTITY = """
from rnnlimits.quantities import TrainedQuantity, register
from rnnlimits.quantities.base import N
from rnnlimits.statistics.samples import average


def sample(trainings):
    return average((trainings.output**2).mean(-1))


register(TrainedQuantity(name="square", estimator="own", variable=N, title="", sample=sample, expected=lambda *_: 0.5))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel and an sdist, made as a release is, the wheel from the sdist, without network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def tracked(*folders: str) -> set[str]:
    """Files of the repository below folders."""
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if (ROOT / line).exists()}


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_what_a_run_needs(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    found = names(wheel)
    code = {name for name in tracked("pipeline", "kernels") if not (ROOT / name).is_symlink()}
    assert {f"rnnlimits/{name.removeprefix('pipeline/')}" for name in code} <= found
    left_out = {"cluster/loopback", "cluster/slurm-loopback/config.yaml", "cluster/slurm-loopback/site.yaml"}
    data = tracked("workflow", "config", "cluster") - left_out
    assert {f"{SHARE}{name}" for name in {*data, "CITATION.cff", "environment.yml"}} <= found
    assert not found & {f"{SHARE}{name}" for name in left_out}


def test_every_package_is_named_for_the_wheel() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    code = [name for name in tracked("pipeline", "kernels") if name.endswith("/__init__.py")]
    folders = {f"rnnlimits/{name.removeprefix('pipeline/')}".removesuffix("/__init__.py") for name in code}
    data = {"rnnlimits.share", *(f"rnnlimits.share.{name}" for name in ("workflow", "config", "cluster"))}
    assert {*named} == {folder.replace("/", ".") for folder in folders} | data


def test_the_wheel_brings_no_package_of_a_general_name(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == OWN
    assert not [name for name in names(wheel) if name.startswith(SHARE) and name.endswith(".py")]


def test_the_sdist_has_what_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in tracked() if not (ROOT / name).is_symlink()} - found == set()


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel, and with the dependencies of this one but not this clone."""
    home = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=HANG)
    packages = next(home.glob("lib/python*/site-packages"))
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*command, "--target", str(packages), str(wheel)], check=True, timeout=HANG)
    # A path in a .pth is searched, but the .pth in it are not read: the clone's editable install stays unseen.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


def of_wheel(python: Path, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`rnnlimits WORDS` from the wheel, in a folder that has nothing to do with the clone."""
    settings = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    settings["PATH"] = f"{Path(sys.executable).parent}:{settings['PATH']}"  # mpiexec
    settings["CUDA_VISIBLE_DEVICES"] = ""
    # The MPI wheel's library lies in the environment whose packages are borrowed; mpi4py looks in the fresh one.
    if libraries := sorted(Path(sys.prefix, "lib").glob("libmpi.so.*")):
        settings["MPI4PY_LIBMPI"] = str(libraries[0])
    settings |= variables
    start = "import sys; from rnnlimits.cli import main; sys.exit(main())"
    command = [str(python), "-P", "-c", start, *words]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=HANG)


def test_it_is_not_the_clone(python: Path, tmp_path: Path) -> None:
    ask = "from rnnlimits import kernels; from rnnlimits.run import shipped"
    ask += "; print(shipped.__file__, kernels.__file__, shipped.CONFIG)"
    done = subprocess.run([str(python), "-I", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True)
    for path in map(Path, done.stdout.split()):
        assert path.is_relative_to(python.parent.parent)
        assert not path.is_relative_to(ROOT)


def test_a_study_runs_from_the_wheel_to_the_same_digests(python: Path, tmp_path: Path) -> None:
    """Other people's `kernels` and `pipeline`, first on the path, are neither imported nor broken by it."""
    for name in ("kernels", "pipeline"):
        (tmp_path / "others" / name).mkdir(parents=True)
        (tmp_path / "others" / name / "__init__.py").write_text("raise SystemExit('a package of another project')\n")
    clone, empty = tmp_path / "clone", tmp_path / "empty"
    for folder in (clone, empty):
        folder.mkdir()
        write_recorded(folder, **STUDY)
        (folder / "own.py").write_text(QUANTITY)
    done = of_wheel(python, empty, "run", "tiny.yaml", "--cores", "2", PYTHONPATH=str(tmp_path / "others"))
    assert done.returncode == 0, done.stderr
    assert "where to look:" in done.stdout
    assert "square in N (own)" in done.stdout
    assert {path.name for path in empty.iterdir()} == {"tiny.yaml", "series.csv", "own.py", "results", ".snakemake"}
    run("train", "tiny.yaml", cwd=clone)
    run("draw", "tiny.yaml", cwd=clone)
    for part in ("train", "draw.h5"):
        ours, theirs = (run("digest", folder / "results" / "tiny" / part).stdout for folder in (clone, empty))
        assert ours.replace(str(clone), "") == theirs.replace(str(empty), "")


def test_what_ships_is_found_by_name(python: Path, tmp_path: Path) -> None:
    done = of_wheel(python, tmp_path, "check", "demo")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("demo: the study that ships with rnnlimits (")
    shipped = Path(done.stderr.split("(")[1].rstrip(")\n"))
    assert shipped.is_relative_to(python.parent.parent)
    assert shipped.read_bytes() == (ROOT / "config" / "demo.yaml").read_bytes()
    assert "core-hours" in of_wheel(python, tmp_path, "plan", "demo", "--cluster", "slurm").stdout
    assert list(tmp_path.iterdir()) == []


# --- the repository as others use it -----------------------------------------------------------------------------

MODULE = """
module rnnlimits:
    snakefile: {snakefile!r}
    config: {{"study": "tiny.yaml", "results": "out"}}

use rule * from rnnlimits as rnnlimits_*

rule count:
    input: "out/tiny/draw.h5", "out/tiny/study.yaml"
    output: "count.txt"
    default_target: True
    shell: "ls {{input}} | wc -l > {{output}}"
"""


def test_another_snakefile_uses_the_workflow_as_a_module(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=str(ROOT / "workflow" / "Snakefile")))
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    settings = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    settings["PATH"] = f"{Path(sys.executable).parent}:{settings['PATH']}"
    settings.pop("PYTHONPATH", None)

    def call(*words: str) -> str:
        done = subprocess.run(
            [*command, *words], cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=HANG
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    dry = call("--dry-run", "rnnlimits_all")
    for rule in ("rnnlimits_train_N00016_K00016", "rnnlimits_limit", "rnnlimits_rates", "rnnlimits_figures"):
        assert f"rule {rule}:" in dry
    assert "not present in the Snakefile" not in dry
    call()
    assert (tmp_path / "count.txt").read_text().strip() == "2"
    run("validate", tmp_path / "out" / "tiny" / "draw.h5")
    assert {path.name for path in tmp_path.iterdir()} == {"Snakefile", "tiny.yaml", "out", "count.txt", ".snakemake"}


def test_the_workflow_catalogue_finds_what_it_asks_for() -> None:
    """As its guide to adding workflows asks, under standardized usage."""
    for path in ("workflow/Snakefile", "config/README.md", "README.md", "LICENSE"):
        assert (ROOT / path).is_file()
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    assert list((ROOT / "workflow" / "rules").glob("*.smk"))
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["mandatory-flags"]["desc"]
    flag, study = usage["mandatory-flags"]["flags"].split()
    assert flag == "--configfile"
    assert (ROOT / study).is_file()
    assert usage["software-stack-deployment"]["conda"] is True
