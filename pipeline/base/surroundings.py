"""The caller's surroundings: which environment variables may influence a run, and what is removed before it is read.

Imports next to nothing: the command line calls `enter` before any other import, since most libraries read their variables
when they are imported. The library never calls it: a notebook's environment belongs to its user.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from rnnlimits.base import launchers

# What follows each name is honoured; all other variables of the families below are removed. docs/command-line.md has
# this table too (a test compares them), and also says what nonsense in them does.
HONOURED: dict[str, str] = {
    "RNNLIMITS_BACKEND": "default of `--backend`",
    "RNNLIMITS_CACHE": "folder of compiled kernels (default: `rnnlimits` below `XDG_CACHE_HOME`, or `~/.cache/rnnlimits`)",
    "RNNLIMITS_CHECKPOINT_SECONDS": "least time between two saved states of a block (default: 60; 0: after every piece of work)",
    "RNNLIMITS_MARCH": "instruction set that the kernels are compiled for: `native` (default: this processor's own), "
    "`x86-64-v2`, `x86-64-v3` (AVX2), `x86-64-v4` (AVX-512); last digits differ between them",
    "RNNLIMITS_PYTHONPATH": "further folders with Python packages, such as those of a cluster's modules; searched first",
    "RNNLIMITS_REFUSALS": "set by `run` for its stages: the file to which a stage whose input is refused writes its message",
    "RNNLIMITS_REQUIRE": "for the tests: needs that must be met on this machine",
    "HOME": "the user's folder, below which caches lie",
    "XDG_CACHE_HOME": "the user's caches",
    "TMPDIR": "temporary files",
    "PATH": "where programs are found: `mpiexec`, the compiler, Slurm's commands, `git`; the folder of this Python comes first",
    "LD_LIBRARY_PATH": "where libraries are found; likewise `LD_PRELOAD`, `LIBRARY_PATH` and `COMPILER_PATH`",
    "CXX": "the C++ compiler of the kernels (default: the first of g++, clang++ and c++ that exists)",
    "CUDA_VISIBLE_DEVICES": "GPUs that may be used",
    "CUDA_DEVICE_ORDER": "their order",
    "CUDA_PATH": "the CUDA toolkit; likewise `CUDA_HOME`",
    "CUDA_MPS_PIPE_DIRECTORY": "a shared GPU's daemon; likewise `CUDA_MPS_LOG_DIRECTORY`",
    "CUPY_CACHE_DIR": "compiled CUDA kernels (default: `cupy` below the cache of kernels)",
    "MPLCONFIGDIR": "Matplotlib's cache of fonts; its settings are not read",
    "HDF5_USE_FILE_LOCKING": "locks of HDF5 files: `TRUE`, `FALSE` or `BEST_EFFORT`, as a file system needs it",
    "MPI4PY_LIBMPI": "the MPI library that mpi4py loads; likewise `MPI4PY_MPIABI`",
    "PYTHONHOME": "where this Python's own library lies; likewise `PYTHONUSERBASE` and `PYTHONNOUSERSITE` for packages of the user",
    "PYTHONDONTWRITEBYTECODE": "whether compiled Python is kept; likewise `PYTHONPYCACHEPREFIX`",
    "PYTHONIOENCODING": "encoding of stdout and stderr; letters that it lacks appear as `\\u` with their number",
    "PYTHONPATH": "only the entry in which rnnlimits itself lies, if there is one",
    "NO_COLOR": "see Terminals; likewise `COLUMNS`, `LINES`, `TERM` and `COLORTERM`",
    "LC_ALL": "the encoding of the terminal; likewise `LC_CTYPE` and `LANG`. Files are UTF-8 whatever it is",
}
# Named in the table within the text of another one.
ALSO_HONOURED = (
    "CUDA_HOME",
    "CUDA_MPS_LOG_DIRECTORY",
    "MPI4PY_MPIABI",
    "PYTHONUSERBASE",
    "PYTHONNOUSERSITE",
    "PYTHONPYCACHEPREFIX",
)

# Read by what we start or import, and removed: names, or beginnings of names with a star.
REMOVED: dict[str, tuple[str, ...]] = {
    "Python": ("PYTHON*",),
    "Snakemake": ("SNAKEMAKE_*", "PULP_*"),
    "HDF5": ("HDF5_*", "H5PY_*", "H5NETCDF_*"),
    "NumPy and other packages": (
        "NPY_*", "NUMPY_*", "SCIPY_*", "PANDAS_*", "PYDANTIC_*", "PLOTLY_*", "SKLEARN_*", "PSUTIL_*", "MPI4PY_*",
    ),
    "linear algebra and threads": (
        "OPENBLAS_*", "GOTO_*", "OMP_*", "GOMP_*", "KMP_*", "MKL_*", "BLIS_*", "VECLIB_*", "NUMEXPR_*",
    ),
    "Matplotlib": ("MPLBACKEND", "MPLCONFIGDIR", "MPL_*", "MATPLOTLIB*", "SOURCE_DATE_EPOCH"),
    "CUDA": ("CUDA_*", "CUPY_*", "CUBLAS_*", "NVRTC_*", "NVIDIA_TF32_OVERRIDE"),
    "C library and compiler": (
        "GLIBC_TUNABLES", "MALLOC_*", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "DEPENDENCIES_OUTPUT",
        "SUNPRO_DEPENDENCIES",
    ),
    "git": ("GIT_*",),
    "colours": ("FORCE_COLOR", "CLICOLOR*", "TTY_*", "JUPYTER_*", "UNICODE_VERSION"),
    "output of Slurm's commands": ("SQUEUE_*", "SACCT_*", "SCANCEL_*", "SCONTROL_*", "SINFO_*"),
}  # fmt: skip

# How ranks find and reach each other: needed in a process that a launcher has started, meaningless in any other.
MPI = (
    "PMI_*", "PMIX_*", "PMI2_*", "HYDRA_*", "HYDI_*", "MPIEXEC_*", "MPIRUN_*", "MPIR_*", "MPICH_*", "MPI_*", "OMPI_*", "OPAL_*",
    "ORTE_*", "PRTE_*", "I_MPI_*", "MV2_*", "MVP_*", "UCX_*", "UCC_*", "FI_*", "PSM2_*", "PSM3_*", "PALS_*", "ALPS_*",
    "FLUX_*",
)  # fmt: skip
# Of a batch system whose job a run may be part of; and what changes how bash reads the lines of the workflow.
BATCH = (
    "SLURM_*", "SLURMD_*", "SBATCH_*", "SALLOC_*", "SRUN_*", "PBS_*", "LSB_*", "LSF_*", "LS_*", "LOADL_*", "COBALT_*", "PE_HOSTFILE",
)  # fmt: skip
SHELL = ("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "BASH_FUNC_*", "BASH_XTRACEFD", "BASH_COMPAT", "CDPATH", "POSIXLY_CORRECT", "GLOBIGNORE")  # fmt: skip
FOUND_BY_SLURM = ("SLURM_CONF",)  # where its commands find the cluster; it says nothing of a job

# Read before any line of Python runs.
AT_START = ("PYTHON*", "GLIBC_TUNABLES", "MALLOC_*")
LOCKING = ("TRUE", "FALSE", "BEST_EFFORT", "1", "0")
# The ranks already use all cores; a library with threads of its own would compete with them, and its sums would depend
# on the number of threads. The variables are set, not defaulted, as Snakemake exports other values.
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
FIXED = {**THREADS, "MATPLOTLIBRC": os.devnull}
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a variable is one of `patterns`: names, or beginnings of names with a star."""
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in patterns)


def own(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment that a process of the command line works in, made from the caller's."""
    removed = [pattern for patterns in REMOVED.values() for pattern in patterns]
    if not launchers.is_rank(environment):
        removed += MPI
    kept = {name: value for name, value in environment.items() if _honoured(name, value) or not matches(name, removed)}
    return _with_path(environment, {**kept, **FIXED})


def of_jobs(environment: Mapping[str, str], cluster: bool = False) -> dict[str, str]:
    """The environment of the workflow and of all that it starts.

    cluster: in jobs of Slurm, where Slurm's own variables and those of MPI are needed; on this machine alone, where a
    run may be part of somebody else's job, they are removed.
    """
    removed = ("PYTHONIOENCODING",) if cluster else (*MPI, *BATCH, *SHELL, "PYTHONIOENCODING")
    kept = {
        name: value
        for name, value in _with_launcher(environment, cluster).items()
        if name in FOUND_BY_SLURM or not matches(name, removed)
    }
    return kept | {"PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"}


def _with_launcher(environment: Mapping[str, str], cluster: bool) -> dict[str, str]:
    clean = own(environment)
    return {**{name: value for name, value in environment.items() if cluster and matches(name, MPI)}, **clean}


def _honoured(name: str, value: str) -> bool:
    if name == "HDF5_USE_FILE_LOCKING":
        return value in LOCKING
    return name in HONOURED or name in ALSO_HONOURED


def _with_path(environment: Mapping[str, str], kept: dict[str, str]) -> dict[str, str]:
    """PYTHONPATH as far as it is honoured: further packages that are named for us, and where we ourselves lie."""
    home, further = os.path.dirname(PACKAGE), environment.get("RNNLIMITS_PYTHONPATH", "")
    given = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if _same(entry, home)]
    folders = [os.path.abspath(entry) for entry in [*given[:1], *filter(None, further.split(os.pathsep))]]
    kept.pop("PYTHONPATH", None)
    return {**kept, **({"PYTHONPATH": os.pathsep.join(folders)} if folders else {})}


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one or ".") == os.path.realpath(other)


def enter() -> None:
    """Clean this process's environment; replace the process by itself where Python has already read what is removed.

    Only for a program of the command line, before it imports anything.
    """
    clean = own(os.environ)
    if restart := _restarted(clean):
        os.execve(sys.executable, restart, clean)
    for name in [name for name in os.environ if name not in clean]:
        del os.environ[name]
    os.environ.update(clean)


def _restarted(clean: dict[str, str]) -> list[str]:
    """The command line that starts this program anew in a clean environment, which it completes; [] if that is needless.

    -P keeps the working folder, which `python -m` searches first, and the script's folder out of the search for
    modules.
    """
    if sys.getfilesystemencoding() != "utf-8":
        clean["PYTHONUTF8"] = "1"
        clean.setdefault("PYTHONIOENCODING", f"{getattr(sys.stdout, 'encoding', None) or 'utf-8'}:backslashreplace")
    else:
        clean |= {name: os.environ[name] for name in ("PYTHONUTF8", "PYTHONSAFEPATH") if os.environ.get(name) == "1"}
    if sys.path[:1] == [os.path.dirname(PACKAGE)] and not sys.flags.safe_path and "PYTHONPATH" not in clean:
        clean["PYTHONPATH"] = os.path.dirname(PACKAGE)  # found in the working folder, and only there
    read = {name for name in {*os.environ, *clean} if os.environ.get(name) != clean.get(name)}
    from_folder = sys.orig_argv[1:2] == ["-m"] and not sys.flags.safe_path
    if not from_folder and not any(matches(name, AT_START) for name in read):
        return []
    return [sys.executable, "-P", *sys.orig_argv[1:]]
