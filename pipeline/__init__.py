"""Measure how fast a wide recurrent network, trained online, converges to its kernel limit."""

from __future__ import annotations

__version__ = "0.1.0"

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
