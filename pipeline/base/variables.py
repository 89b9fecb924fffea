"""Environment variables that several packages use."""

from __future__ import annotations

BACKEND = "RNNLIMITS_BACKEND"  # default of --backend: by this variable the workflow passes its choice to the stages
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
