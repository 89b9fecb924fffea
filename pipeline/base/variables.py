"""Environment variables: those of ours, those of others that are honoured, and those that are removed.

docs/_ext/variable_table.py writes these lists into docs/command-line.md. Data only: nothing is imported here.
"""

from __future__ import annotations

BACKEND = "RNNLIMITS_BACKEND"  # by this variable the workflow passes its choice to the stages
IGNORED = "RNNLIMITS_IGNORED"  # by this one a process that replaces itself passes on what it has removed
# From these a process learns that srun or mpiexec started it as one of several ranks, and how to reach the others.
MPI_START = (
    "PMI_FD",
    "PMI_PORT",
    "PMI_RANK",
    "PMI_SIZE",
    "PMI_SPAWNED",
    "PMIX_RANK",
    "PMIX_NAMESPACE",
    "PMIX_SERVER_URI",
)

# Everything that may influence a run, and how.
HONOURED: dict[str, str] = {
    BACKEND: "default of `--backend`",
    "RNNLIMITS_CACHE": "folder of compiled kernels "
    "(default: `rnnlimits` below `XDG_CACHE_HOME`, or `~/.cache/rnnlimits`)",
    "RNNLIMITS_CHECKPOINT_SECONDS": "least time between two saved states of a block "
    "(default: 60; 0: after every piece of work; `off`: never)",
    IGNORED: "set by a command for itself when it starts anew: names of the variables that it has removed",
    "RNNLIMITS_MARCH": "instruction set that the kernels are compiled for: `native` (default: this processor's own), "
    "`x86-64-v2`, `x86-64-v3` (AVX2), `x86-64-v4` (AVX-512); last digits differ between them",
    "RNNLIMITS_PYTHONPATH": "further folders with Python packages, such as a cluster's modules; searched first",
    "RNNLIMITS_QUIET_SECONDS": "seconds without output after which a command says what it is doing "
    "(default: 18; `off`: never)",
    "RNNLIMITS_REFUSALS": "set by `run` for its stages: the file to which a stage whose input is refused writes its "
    "message",
    "RNNLIMITS_REQUIRE": "for the tests: needs that must be met on this machine",
    "HOME": "the user's folder, below which caches lie",
    "XDG_CACHE_HOME": "the user's caches, an absolute path; `XDG_CONFIG_HOME`: where Matplotlib makes its folder",
    "TMPDIR": "temporary files",
    "PATH": "where `mpiexec`, the compiler, Slurm's commands and `git` are found; this Python's folder comes first",
    "LD_LIBRARY_PATH": "where libraries are found; likewise `LD_PRELOAD`. `LIBRARY_PATH` and `COMPILER_PATH` are "
    "kept, but the compiler of the kernels does not see them",
    "CXX": "the C++ compiler of the kernels (default: the first of g++, clang++ and c++ that exists)",
    "CUDA_VISIBLE_DEVICES": "GPUs that may be used; `CUDA_DEVICE_ORDER`: their order",
    "CUDA_PATH": "the CUDA toolkit; likewise `CUDA_HOME`",
    "CUDA_MPS_PIPE_DIRECTORY": "the daemon of a shared GPU; likewise `CUDA_MPS_LOG_DIRECTORY`",
    "CUPY_CACHE_DIR": "compiled CUDA kernels (default: `cupy` below the cache of kernels; "
    "where it cannot be written, `CUPY_CACHE_IN_MEMORY` is set)",
    "MPLCONFIGDIR": "Matplotlib's cache of fonts; settings in it are not read",
    "HDF5_USE_FILE_LOCKING": "`TRUE`, `FALSE` or `BEST_EFFORT`, as a file system needs it; another value is ignored",
    "MPI4PY_LIBMPI": "the MPI library that mpi4py loads; likewise `MPI4PY_MPIABI`",
    "PYTHONHOME": "where this Python's own library lies",
    "PYTHONUSERBASE": "where packages of the user lie; `PYTHONNOUSERSITE`: not to use them",
    "PYTHONPYCACHEPREFIX": "where compiled Python is kept; `PYTHONDONTWRITEBYTECODE`: not to keep it",
    "PYTHONIOENCODING": "encoding of stdout and stderr; characters that it lacks are printed as escapes",
    "PYTHONPATH": "only the entry that contains rnnlimits; name other folders in `RNNLIMITS_PYTHONPATH`",
    "NO_COLOR": "see Terminals; likewise `COLUMNS`, `LINES`, `TERM` and `COLORTERM`",
    "LC_ALL": "the encoding of the terminal; likewise `LC_CTYPE` and `LANG`. Files are UTF-8 whatever it is",
    "SLURM_CONF": "where Slurm's commands find the cluster",
}
# Within the text of another one.
ALSO_HONOURED = (
    "XDG_CONFIG_HOME",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "CUDA_MPS_LOG_DIRECTORY",
    "MPI4PY_MPIABI",
    "PYTHONNOUSERSITE",
    "PYTHONDONTWRITEBYTECODE",
)

# Names, or beginnings of names with a star, that what we import or start would read; all but the honoured are removed.
REMOVED: dict[str, tuple[str, ...]] = {
    "Python": ("PYTHON*",),
    "Snakemake": ("SNAKEMAKE_*", "PULP_*"),
    "HDF5": ("HDF5_*", "H5PY_*", "H5NETCDF_*"),
    "NumPy and other packages": (
        "NPY_*", "NUMPY_*", "SCIPY_*", "PANDAS_*", "PYDANTIC_*", "PLOTLY_*", "SKLEARN_*", "PSUTIL_*", "MPI4PY_*",
    ),
    "linear algebra, threads": (
        "OPENBLAS_*", "GOTO_*", "OMP_*", "GOMP_*", "KMP_*", "MKL_*", "BLIS_*", "VECLIB_*", "NUMEXPR_*",
    ),
    "Matplotlib": ("MPLBACKEND", "MPLCONFIGDIR", "MPL_*", "MATPLOTLIB*", "SOURCE_DATE_EPOCH"),
    "CUDA": ("CUDA_*", "CUPY_*", "CUBLAS_*", "NVRTC_*", "NVIDIA_TF32_OVERRIDE"),
    "C library, compiler": (
        "GLIBC_TUNABLES", "MALLOC_*", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "DEPENDENCIES_OUTPUT",
        "SUNPRO_DEPENDENCIES",
    ),
    "git": ("GIT_*",),
    "folders of the user, if the path is relative": ("XDG_*",),
    "colours": ("FORCE_COLOR", "CLICOLOR*", "TTY_*", "JUPYTER_*", "UNICODE_VERSION"),
    "output of Slurm's commands": ("SQUEUE_*", "SACCT_*", "SCANCEL_*", "SCONTROL_*", "SINFO_*"),
}  # fmt: skip

# How ranks find and reach each other: needed in a process that a launcher has started, meaningless in any other.
MPI = (
    "PMI_*", "PMI2_*", "PMIX_*", "HYDRA_*", "HYDI_*", "MPIEXEC_*", "MPIRUN_*", "MPIR_*", "MPICH_*", "MPI_*", "OMPI_*",
    "OPAL_*", "ORTE_*", "PRTE_*", "I_MPI_*", "MV2_*", "MVP_*", "UCX_*", "UCC_*", "FI_*", "PSM2_*", "PSM3_*", "PALS_*",
    "ALPS_*", "FLUX_*",
)  # fmt: skip
# Of a batch system whose job a run may be part of.
BATCH = (
    "SLURM_*", "SLURMD_*", "SBATCH_*", "SALLOC_*", "SRUN_*", "PBS_*", "LSB_*", "LSF_*", "LOADL_*", "COBALT_*",
    "PE_HOSTFILE",
)  # fmt: skip
# By which bash would read the lines of the workflow in another way.
SHELL = (
    "BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "BASH_FUNC_*", "BASH_XTRACEFD", "BASH_COMPAT", "CDPATH",
    "POSIXLY_CORRECT", "GLOBIGNORE",
)  # fmt: skip

FOUND_BY_SLURM = ("SLURM_CONF",)
AT_START = ("PYTHON*", "GLIBC_TUNABLES", "MALLOC_*")  # read before any line of Python runs
LOCKING = ("TRUE", "FALSE", "BEST_EFFORT", "1", "0")
# The ranks already use all cores; a library with threads of its own would compete with them, and its sums would depend
# on the number of threads. The variables are set, not defaulted, as Snakemake exports other values.
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
FIXED = {**THREADS, "MATPLOTLIBRC": "/dev/null"}
