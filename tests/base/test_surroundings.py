"""What surrounds a run: variables, files beside the study, launchers. Whatever they are, the numbers are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import variable_table
from runs import ENVIRONMENT, HANG, ROOT, run, write_study

from rnnlimits.base import launchers, surroundings, variables

SRC = str(ROOT / "src")
# One or more of each family, as people have them set, and in nonsense.
FOREIGN = (
    "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONSTARTUP", "SNAKEMAKE_PROFILE", "SNAKEMAKE_OUTPUT_CACHE",
    "HDF5_VDS_PREFIX", "HDF5_DRIVER", "HDF5_PLUGIN_PATH", "HDF5_USE_FILE_LOCKING", "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "OMP_PROC_BIND", "MKL_CBWR",
    "MPLBACKEND", "MATPLOTLIBRC", "CUPY_TF32", "CUDA_LAUNCH_BLOCKING", "MPI4PY_RC_INITIALIZE",
    "PYDANTIC_DISABLE_PLUGINS", "H5NETCDF_READ_BACKEND", "XDG_CONFIG_HOME", "GLIBC_TUNABLES", "CPATH", "GIT_DIR",
    "SOURCE_DATE_EPOCH",
)  # fmt: skip
LAUNCHING = (
    "HYDRA_LAUNCHER", "HYDRA_HOST_FILE", "HYDRA_RMK", "MPIEXEC_PORT_RANGE", "MPICH_PORT_RANGE", "MPIR_CVAR_CH4_NETMOD",
    "PMI_RANK", "PMI_FD", "PMIX_RANK", "OMPI_MCA_plm", "I_MPI_FABRICS", "MV2_COMM_WORLD_RANK", "UCX_TLS", "FI_PROVIDER",
    "SLURM_JOB_ID", "SLURM_TASKS_PER_NODE", "SBATCH_EXPORT", "SRUN_CPUS_PER_TASK", "PBS_NODEFILE", "LSB_MCPU_HOSTS",
    "PE_HOSTFILE", "BASH_ENV", "SHELLOPTS", "CDPATH",
)  # fmt: skip
HARMLESS = (
    "TZ",
    "LANG",
    "LC_ALL",
    "LC_NUMERIC",
    "COLUMNS",
    "LINES",
    "TERM",
    "CONDA_PREFIX",
    "PIP_TARGET",
    "DISPLAY",
    "CC",
)
NONSENSE = dict.fromkeys((*FOREIGN, *LAUNCHING, *HARMLESS), "nonsense") | {"SHELLOPTS": "noexec"}


# --- variables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_variable_reaches_nothing(name: str) -> None:
    assert surroundings.own({name: "nonsense"}).get(name) in (None, variables.FIXED.get(name))


@pytest.mark.parametrize("name", [*FOREIGN, *LAUNCHING])
def test_jobs_on_this_machine_see_no_launcher(name: str) -> None:
    assert surroundings.of_jobs({name: "nonsense"}).get(name) in (None, variables.FIXED.get(name))


@pytest.mark.parametrize("name", ["FI_TCP_IFACE", "UCX_NET_DEVICES", "SLURM_JOB_ID", "SBATCH_ACCOUNT"])
def test_jobs_of_a_cluster_see_it(name: str) -> None:
    assert surroundings.of_jobs({name: "x"}, cluster=True)[name] == "x"


@pytest.mark.parametrize("name", [*variables.HONOURED, *variables.ALSO_HONOURED, "MY_OWN"])
def test_what_is_honoured_stays(name: str) -> None:
    value = {"HDF5_USE_FILE_LOCKING": "FALSE", "PYTHONPATH": SRC}.get(name, "/x")
    assert surroundings.own({name: value})[name] == value
    if name != "LC_ALL":
        assert surroundings.of_jobs({name: value}).get(name) == (None if name == "PYTHONIOENCODING" else value)


def test_cleaning_twice_is_cleaning_once() -> None:
    """Otherwise a process would replace itself for ever."""
    once = surroundings.own({**os.environ, **NONSENSE, "PYTHONPATH": f"x:{SRC}:", "RNNLIMITS_PYTHONPATH": "y"})
    assert surroundings.own(once) == once
    assert once["PYTHONPATH"] == os.pathsep.join([SRC, str(Path.cwd() / "y")])


def test_what_is_ignored_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"PYTHONPATH": "/x", "PATH": "/bin", "OMP_NUM_THREADS": "8", "OPENBLAS_NUM_THREADS": "1", "MY_OWN": "1"}
    assert sorted(surroundings.changed(given)) == ["OMP_NUM_THREADS", "PYTHONPATH"]
    monkeypatch.setattr(surroundings, "_ignored", ["OMP_NUM_THREADS", "PYTHONPATH"])
    job = {f"SLURM_{name}": "1" for name in ("JOB_ID", "NTASKS", "NNODES", "NPROCS")}
    here = {"OMPI_COMM_WORLD_SIZE": "4", "PATH": "/bin", **job}
    of_alone = ["OMPI_COMM_WORLD_SIZE", "OMP_NUM_THREADS", "PYTHONPATH", "SLURM_* (4)"]
    assert surroundings.ignored(here, is_rank=False) == of_alone
    assert surroundings.ignored(here, is_rank=True) == ["OMP_NUM_THREADS", "PYTHONPATH"]


def test_a_process_that_starts_anew_knows_what_it_removed() -> None:
    code = (
        "import os; from rnnlimits.base import surroundings; surroundings.enter(); surroundings.leave_mpi(); "
        "print(*surroundings.ignored({}, False)); print(*os.environ)"
    )
    given = {
        **ENVIRONMENT,
        "PYTHONPATH": f"/x{os.pathsep}{SRC}",
        "GIT_DIR": "y",
        "PYTHONWARNINGS": "ignore",
        "UCX_A": "z",
    }
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, timeout=HANG)
    ignored, left = (line.split() for line in done.stdout.splitlines())
    assert {"GIT_DIR", "PYTHONPATH", "PYTHONWARNINGS", "UCX_A"} <= {*ignored}, done.stderr
    assert {variables.IGNORED, "GIT_DIR"}.isdisjoint(left)


def test_the_tables_of_the_guide_are_the_lists() -> None:
    page = variable_table.PAGE.read_text(encoding="utf-8")
    assert page == variable_table.renewed(page), f"run {variable_table.RENEW}"


# --- launchers -------------------------------------------------------------------------------------------------------

OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}
HYDRA = {"PMI_RANK": "0", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        (OPEN_MPI, ("Open MPI's mpiexec", 3, 4)),
        (HYDRA, ("mpiexec (Hydra)", 0, 2)),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, ("srun", 1, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script
        ({"PMI_RANK": "nonsense", "PMI_SIZE": "nonsense"}, None),
        ({"PMI_RANK": "7", "PMI_SIZE": "2"}, None),
        ({}, None),
    ],
)
def test_who_started_this(environment: dict[str, str], found: tuple[str, int, int] | None) -> None:
    one = launchers.started(environment)
    assert (one and one[:3]) == found


SRUN = {"PMI_RANK": "1", "PMI_SIZE": "4", "SLURM_PROCID": "1"}
WHEEL = "MPICH Version:      5.0.2\nMPICH Device: ch4:ucx ofi\nMPICH CC:           cc\n"


@pytest.mark.parametrize(
    ("description", "environment", "found"),
    [
        (WHEEL, SRUN, {"MPIR_CVAR_CH4_NETMOD": "ofi"}),
        (WHEEL, {**SRUN, "MPIR_CVAR_CH4_NETMOD": "ucx"}, {}),  # the user's choice
        (WHEEL, {**SRUN, "PMI_SIZE": "1", "PMI_RANK": "0"}, {}),
        (WHEEL, {**SRUN, **HYDRA}, {}),  # mpiexec within a job
        (WHEEL, {"PMI_RANK": "1", "PMI_SIZE": "4"}, {}),
        (WHEEL.replace("ucx ofi", "ucx"), SRUN, {}),
        (WHEEL.replace("ucx ofi", "ofi"), SRUN, {}),
        ("Open MPI v5.0.8", SRUN, {}),
    ],
)
def test_ranks_of_srun_exchange_short_addresses(
    description: str, environment: dict[str, str], found: dict[str, str]
) -> None:
    assert launchers.netmod_for_srun(description, environment) == found


def test_two_mpis_are_named_by_each_copy() -> None:
    says = r"Open MPI.* rank 3 of 4 .*OMPI_COMM_WORLD_SIZE=4.* is MPICH 5"
    with pytest.raises(launchers.Crowd, match=says):
        launchers.require_family("MPICH 5.0", OPEN_MPI)
    with pytest.raises(launchers.Crowd, match=says):
        launchers.require_same_mpi(1, "MPICH 5.0", OPEN_MPI)
    with pytest.raises(launchers.Crowd, match="is Open MPI 5"):
        launchers.require_family("Open MPI 5.0", HYDRA)
    launchers.require_family("Open MPI 5.0", OPEN_MPI)
    launchers.require_family("Intel MPI 2021", HYDRA)
    launchers.require_same_mpi(4, "Open MPI 5.0", OPEN_MPI)
    launchers.require_same_mpi(1, "MPICH 5.0", {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"})


@pytest.mark.parametrize("verb", ["run", "rates", "atlas", "rntk classify"])
def test_copies_of_a_verb_refuse_at_once(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rnnlimits.cli import main

    monkeypatch.chdir(tmp_path)
    for name, value in OPEN_MPI.items():
        monkeypatch.setenv(name, value)
    given = {"atlas": "atlas-small", "rntk classify": "GunPoint"}.get(verb, str(write_study(tmp_path)))
    before = set(tmp_path.iterdir())
    assert main([*verb.split(), given]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "ships with" not in line]
    assert line.startswith(f"rnnlimits: {verb}: started by Open MPI's mpiexec as copy 3 of 4")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.needs_mpi
def test_a_stage_of_a_foreign_mpirun_is_refused(tmp_path: Path) -> None:
    done = run("draw", write_study(tmp_path), cwd=tmp_path, check=False, env={**ENVIRONMENT, **OPEN_MPI})
    assert done.returncode == 2
    assert done.stderr.startswith("rnnlimits: MPI: Open MPI's mpiexec started this as rank 3 of 4")
    assert len(done.stderr.splitlines()) == 1


# --- everything at once ----------------------------------------------------------------------------------------------

MODULES = (
    "kernels", "pipeline", "rnnlimits", "numpy", "random", "types", "re", "yaml", "snakemake", "mpi4py",
    "sitecustomize",
)  # fmt: skip


def surround(folder: Path) -> None:
    """Files that programs would take for theirs, if they looked into the working folder."""
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"raise SystemExit('the {name} of somebody else')\n", encoding="utf-8")
    for profile in ("profiles/default", "workflow/profiles/default", "h5py"):
        (folder / profile).mkdir(parents=True)
        (folder / profile / "config.yaml").write_text("cores: nonsense\n", encoding="utf-8")
    (folder / "h5py" / "__init__.py").write_text("raise SystemExit('the h5py of somebody else')\n", encoding="utf-8")
    (folder / "workflow" / "Snakefile").write_text("raise SystemExit('somebody else')\n", encoding="utf-8")
    (folder / "matplotlibrc").write_bytes(b"axes.facecolor: \xff\n")
    for name in ("pyproject.toml", "setup.cfg", ".condarc"):
        (folder / name).write_text("[nonsense", encoding="utf-8")


@pytest.mark.parametrize("path", [SRC, f"{{folder}}:{SRC}"], ids=["working folder", "PYTHONPATH"])
def test_modules_beside_a_study_are_not_ours(path: str, tmp_path: Path) -> None:
    for name in ("kernels", "numpy", "yaml", "pydantic", "argparse", "h5py", "rich"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('of somebody else')\n", encoding="utf-8")
    variables = {**ENVIRONMENT, "PYTHONPATH": path.format(folder=tmp_path), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "rnnlimits", "check", str(write_study(tmp_path))]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    assert "good" in done.stdout


@pytest.mark.workflow
@pytest.mark.needs_mpi
def test_whatever_surrounds_a_run_the_digests_are_the_same(tmp_path: Path) -> None:
    calm, loud = tmp_path / "calm", tmp_path / "löud \N{GRINNING FACE}"
    for folder in (calm, loud):
        folder.mkdir()
        write_study(folder)
    surround(loud)
    done = run("run", "tiny.yaml", "--results", "résultats", cwd=loud, env={**ENVIRONMENT, **NONSENSE})
    assert "where to look" in done.stdout
    assert {path.name for path in loud.iterdir()} - {"résultats"} == {
        *(f"{name}.py" for name in MODULES), "tiny.yaml", ".snakemake", "h5py", "profiles", "workflow", "matplotlibrc",
        "pyproject.toml", "setup.cfg", ".condarc",
    }  # fmt: skip
    for stage in ("draw", "train", "limit", "poisson", "rates"):
        run(stage, "tiny.yaml", cwd=calm)
    for part in ("train", "draw.h5", "limit.h5", "poisson.h5", "rates.h5"):
        ours, theirs = (run("digest", Path(name, "tiny", part), cwd=folder).stdout for folder, name in
                        ((calm, "results"), (loud, "résultats")))  # fmt: skip
        assert ours.replace("results", "résultats") == theirs


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, 0),
        ({"PMI_RANK": "3", "PMI_SIZE": "4"}, 3),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}, 2),
        ({"PMIX_RANK": "1", "PMIX_NAMESPACE": "job.1"}, 1),
        ({"PMI_RANK": "nonsense"}, 0),
        ({"SLURM_PROCID": "5"}, 0),  # a batch script, which is no rank
    ],
)
def test_the_rank_that_a_launcher_gave(environment: dict[str, str], rank: int) -> None:
    assert launchers.rank_of(environment) == rank
