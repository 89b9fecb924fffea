"""The limit stage: reads draw.h5, solves for the limit (pipeline/theory/flow.py), writes limit.h5.

Source: docs/model.md sections 4 and 5.
"""

from __future__ import annotations

import h5py
import numpy as np

from rnnlimits.files import store
from rnnlimits.kernels.interface import Backend
from rnnlimits.study import Study
from rnnlimits.theory.flow import Limit, Probes, probes_of, solve
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan
from rnnlimits.training.drawn import read_draws
from rnnlimits.training.layout import Layout


def run(study: Study, layout: Layout, be: Backend) -> None:
    """Solve for the limit of a study whose draw.h5 exists, and write limit.h5. For one process.

    Raises StudyError if draw.h5 is missing, incomplete or from another study.
    """
    law = ParameterLaw.of(study)
    draws = read_draws(study, layout)
    probes = probes_of(study, law, be)
    limit = solve(draws, law, probes, np.array(study.training.checkpoints), study.training.alpha)
    identities = {"draw_id": plan.draw_id(study), "limit_id": plan.limit_id(study)}
    attrs = {**store.provenance(study), **identities, "exact": draws.exact}
    with store.atomic_h5(layout.limit, "limit", {**attrs, "backend": be.name, "device": be.device}) as file:
        put_probes(file, probes)
        put_limit(file, limit)


def put_probes(file: h5py.File, probes: Probes) -> None:
    """Probe histories and the limit memory at their ends."""
    put, count = store.put, len(probes.memory)
    put(file, "probe", np.arange(count), ("probe",), "1", "index of the probe history")
    put(file, "history", probes.history, ("probe", "step", "x"), "1", "inputs of each probe history, oldest first")
    put(file, "memory", probes.memory, ("probe",), "1", "limit memory that goes with the last input")
    name = "change of memory under a finer quadrature"
    put(file, "memory_error_nodes", probes.memory_error, ("probe",), "1", name)


def put_limit(file: h5py.File, limit: Limit) -> None:
    """Curves at checkpoints and between them, with their errors."""
    put = store.put
    put(file, "time", limit.time, ("time",), "1", "training time t")
    put(file, "fine_time", limit.fine_time, ("fine_time",), "1", "training time t, evenly spaced")
    at = ("time", "probe")
    put(file, "output", limit.output, at, "1", "g_t on the probe histories")
    put(file, "output_error_draws", limit.output_error_draws, at, "1", "standard error of output from the draws")
    put(
        file,
        "output_error_nodes",
        limit.output_error_nodes,
        at,
        "1",
        "error of output from the nodes, docs/model.md section 5",
    )
    put(file, "output_fine", limit.output_fine, ("fine_time", "probe"), "1", "g_t on the probe histories")
    put(file, "loss", limit.loss, ("fine_time",), "1", "E (g_t - y)^2")
    put(file, "loss_error_draws", limit.loss_error_draws, ("fine_time",), "1", "standard error of loss from the draws")
    put(file, "loss_floor", limit.loss_floor, (), "1", "loss as t grows without bound")
    put(file, "eigenvalue", limit.eigenvalue, ("mode",), "1", "eigenvalues of A, largest first")
