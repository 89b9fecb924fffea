"""Which back end a name means, and how `--backend` reaches every stage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fake_cuda
import h5py
import pytest
from conftest import missing
from runs import ENVIRONMENT, HANG, PROGRAM, ROOT, run, write_recorded, write_study

from rnnlimits import kernels
from rnnlimits.kernels.interface import KernelError
from rnnlimits.run import workflow
from rnnlimits.study import load


@pytest.fixture
def gpus_here(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two pretended GPUs."""
    fake_cuda.install(monkeypatch)
    monkeypatch.setenv("FAKE_GPUS", "2")
    return monkeypatch


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_the_gpu_is_taken_where_there_is_one(gpus_here: pytest.MonkeyPatch, name: str) -> None:
    assert kernels.backend(name).device == "fake GPU 0"
    assert kernels.backend(name, gpu=1).device == "fake GPU 1"


def test_a_gpu_is_not_forced_on_anyone(gpus_here: pytest.MonkeyPatch) -> None:
    assert kernels.backend("numpy").name == "numpy"


def test_without_a_gpu(gpus_here: pytest.MonkeyPatch) -> None:
    gpus_here.setenv("FAKE_GPUS", "0")
    assert kernels.backend("auto").name in ("host", "numpy")
    with pytest.raises(KernelError, match="no GPU in this test"):
        kernels.backend("cuda")


@pytest.mark.skipif(missing("gpu") is None, reason="this machine has a GPU")
@pytest.mark.parametrize("verb", [["plan"], ["limit", "--backend", "cuda"]], ids=lambda words: words[0])
def test_without_a_gpu_cupy_is_not_imported(tmp_path: Path, verb: list[str]) -> None:
    ask = "import sys; from rnnlimits.cli import main; main(sys.argv[1:]); print('cupy' in sys.modules)"
    command = [sys.executable, "-c", ask, *verb, str(write_study(tmp_path))]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


@pytest.mark.needs_mpi
@pytest.mark.parametrize("ranks", [0, 2])
@pytest.mark.parametrize("verb", ["plan", "run", "train", "limit", "doctor"])
def test_an_unknown_name_is_one_line(tmp_path: Path, verb: str, ranks: int) -> None:
    if ranks and verb not in ("train", "doctor"):
        pytest.skip("not a parallel verb")
    study = write_study(tmp_path)
    words = [verb] if verb == "doctor" else [verb, study]
    done = run(*words, "--backend", "cobol", ranks=ranks, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "rnnlimits: --backend: 'cobol' is not known; allowed: auto, cuda, host, numpy\n"
    assert done.stdout == ""


def test_the_variable_is_the_default(tmp_path: Path) -> None:
    study, settings = write_study(tmp_path), {**ENVIRONMENT, "RNNLIMITS_BACKEND": "cobol"}
    assert "'cobol' is not known" in run("plan", study, check=False, env=settings).stderr
    run("plan", study, "--backend", "numpy", env=settings)


# --- the workflow ------------------------------------------------------------------------------------------


def test_the_workflow_starts_one_rank_for_each_gpu(gpus_here: pytest.MonkeyPatch) -> None:
    assert workflow.gpu_ranks("cuda") == workflow.gpu_ranks("auto") == 2
    assert workflow.gpu_ranks("host") is None
    gpus_here.setenv("FAKE_GPUS", "0")
    assert workflow.gpu_ranks("auto") is None
    assert workflow.gpu_ranks("cuda", elsewhere=True) is None
    with pytest.raises(KernelError, match="no GPU in this test"):
        workflow.gpu_ranks("cuda")


@pytest.mark.needs_mpi
@pytest.mark.parametrize(("cores", "started"), [(None, "2"), (5, "5")])
def test_cores_asked_for_count_more(
    tmp_path: Path, gpus_here: pytest.MonkeyPatch, cores: int | None, started: str
) -> None:
    commands: list[list[str]] = []
    gpus_here.setattr(workflow, "supervise", lambda command, *_: commands.append(command) or 0)
    path = write_study(tmp_path)
    assert workflow.run(load(path), path, tmp_path / "results", cores, [], "cuda") == 0
    (command,) = commands
    assert command[command.index("--cores") + 1] == started
    assert "backend=cuda" in command


def test_no_gpu_is_said_before_anything_starts(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    command = [sys.executable, str(ROOT / "tests" / "support" / "fake_cuda.py"), "run", str(study), "--backend", "cuda"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 2
    assert done.stderr == "rnnlimits: back end cuda: no GPU in this test\n"
    assert list(tmp_path.iterdir()) == [study]


@pytest.mark.workflow
@pytest.mark.needs_mpi
@pytest.mark.needs_compiler
def test_every_stage_gets_it_and_another_remakes_nothing(tmp_path: Path) -> None:
    study = write_recorded(tmp_path, training={"width": [4, 6]})  # NumPy takes its time
    run("run", study, "--backend", "numpy", "--cores", 2, cwd=tmp_path)
    results = tmp_path / "results" / "tiny"
    made = {path: path.stat().st_mtime_ns for path in sorted(results.rglob("*.h5"))}
    shards = [path for path in made if "shards" in path.parts]
    assert {h5py.File(path).attrs["backend"] for path in shards} == {"numpy"}
    dry = [*PROGRAM[:1], "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile"), "--dry-run"]
    dry += ["--configfile", str(study), "--cores", "2", "--config", "backend=host"]
    told = subprocess.run(dry, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)
    assert "Nothing to be done" in told.stdout + told.stderr
    run("run", study, "--backend", "host", "--cores", 1, cwd=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in made} == made
