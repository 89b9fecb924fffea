"""Environment variables that several packages know by name."""

from __future__ import annotations

BACKEND = "RNNLIMITS_BACKEND"  # variable with the default of --backend: how the workflow tells its stages
# By these a process learns from srun or mpiexec that it is one of several ranks, and whom to ask for the others.
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
