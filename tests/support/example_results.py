"""A study's results with known exponents, written through the project's own files, for tests of rates and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnlimits import study as studies
from rnnlimits.files import store
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Cell

Array = NDArray[np.float64]

TEXT = """
name: made-up
seed: 7
chain: {chain}
target: {{sin_x: 1.0}}
network: {{c: {c}}}
training:
  beta: {beta}
  richness: {richness}
  width: {width}
  steps_per_time: {steps}
  replicas: {replicas}
  replicas_per_block: 32
  antithetic: {antithetic}
  checkpoints: {checkpoints}
  ladders: {ladders}
probes: {{count: 6, length: 5}}
draws: {{blocks: 4, couplings: 32, coupling_steps: 20}}
"""
LINEAR = "{kind: linear-gaussian, a: [[0.6, 0.2], [0.1, 0.5]], q: 1.0}"
SYMMETRIC = "{kind: uniform}"
SKEWED = "{kind: two-point, probability: 0.1}"
PROFILE = np.array([1.0, 0.8, -0.5, 0.3, 1.2, -0.9])
MODES = np.array([[1.0, 0.7, -0.4, 0.2, 1.1, -0.8], [0.2, -0.3, 0.5, 0.6, 0.1, 0.3]])
GROWTH = np.array([0.0, 0.6, 1.0])  # of the limit over the checkpoints
CONTRACTION = 0.7  # rate per update of the memories' distance
BIAS = 0.3
MEMORY = np.array([0.1, -0.2, 0.05, 0.0, 0.15, 0.2])


def make_study(
    *,
    chain: str = LINEAR,
    c: str = SYMMETRIC,
    beta: str = "[0.6, 0.75]",
    richness: str = "null",
    width: str = "[64, 128, 256, 512, 1024]",
    steps: str = "[width]",
    replicas: str = "128",
    antithetic: str = "true",
    ladders: str = "[]",
    checkpoints: str = "[0.0, 1.0, 2.0]",
) -> Study:
    """Each argument is the YAML of its key."""
    text = TEXT.format(**locals())
    return studies.loads(text, "made-up.yaml")


def limit_output() -> Array:
    """(time, probe)."""
    return np.outer(GROWTH, PROFILE)


def write_results(study: Study, root: Path, limit_error: float = 0.0, lost: bool = False) -> Layout:
    """Ensembles, draw.h5 and limit.h5 of a study whose every quantity follows a pure power law."""
    layout = Layout(root)
    for cell in plan.cells(study):
        write_ensemble(study, layout, cell)
    write_limit(study, layout, limit_error)
    write_draw(study, layout, lost)
    return layout


def write_ensemble(study: Study, layout: Layout, cell: Cell) -> None:
    """Pairs share path and memory noise; a replica's normals are partly the same in every cell, partly the cell's."""
    pairs = study.training.antithetic
    replica = np.arange(cell.replicas)
    pair = replica // 2 if pairs else replica
    sign = 1 - 2 * (replica % 2) if pairs else np.ones_like(replica)
    field, noise, memory, drift = (normals(cell, pair, stream) for stream in range(4))
    n, k, beta = float(cell.width), float(cell.steps_per_time), cell.beta
    even = BIAS * n ** (-2 * (1 - beta)) * PROFILE
    odd = n ** -(beta - 0.5) * sign[:, None] * (field @ MODES)
    error = even + odd + 0.4 * k**-0.5 * (noise @ MODES)
    grown = np.ones(3)[:, None] * error[:, None, :]
    size = n ** -(1 - beta) * np.exp(0.2 * drift[:, 0])
    attrs = {**store.provenance(study, ["test"]), "cell_id": plan.cell_id(study, cell)}
    path = layout.ensemble(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.atomic_h5(path, "train-ensemble", attrs) as file:
        put = store.put
        put(file, "replica", replica, ("replica",), "1", "replica")
        put(file, "time", study.training.checkpoints, ("time",), "1", "time")
        put(file, "pair", pair, ("replica",), "1", "pair")
        put(file, "sign", sign, ("replica",), "1", "sign")
        put(file, "output", limit_output() + grown, ("replica", "time", "probe"), "1", "output")
        close = MEMORY + n**-0.5 * (memory @ MODES)
        put(file, "memory", np.repeat(close[:, None], 3, axis=1), ("replica", "time", "probe"), "1", "memory")
        for name in ("memory_sup", "hidden_h1", "hidden_h1_sup"):
            sizes = np.repeat(np.abs(close - MEMORY)[:, None], 3, axis=1)
            put(file, name, sizes, ("replica", "time", "probe"), "1", name)
        for name in ("drift_c_max", "drift_c_rms", "drift_b_rms"):
            put(file, name, np.outer(size, [0.0, 0.5, 1.0]), ("replica", "time"), "1", "drift")
        bins = (np.arange(32) + 0.5) / 16
        put(file, "loss_time", bins, ("loss_time",), "1", "time of the bin")
        loss = np.exp(-bins) + 0.1 + 0.05 * noise[:, :1] ** 2
        put(file, "loss", loss, ("replica", "loss_time"), "1", "loss")


def normals(cell: Cell, unit: NDArray[np.int64], stream: int) -> Array:
    """(replica, 2), a function of the unit index but for a part that belongs to the cell."""
    most = int(unit.max()) + 1
    common = np.random.default_rng([stream, 11]).normal(size=(max(4096, most), 2))[:most]
    own = np.random.default_rng([stream, cell.width, cell.steps_per_time]).normal(size=(most, 2))
    return np.asarray((np.sqrt(0.7) * common + np.sqrt(0.3) * own)[unit])


def write_limit(study: Study, layout: Layout, error: float) -> None:
    fine = np.linspace(0, 2, 9)
    shape = ("time", "probe")
    with store.atomic_h5(layout.limit, "limit", {"limit_id": plan.limit_id(study)}) as file:
        put = store.put
        put(file, "time", study.training.checkpoints, ("time",), "1", "time")
        put(file, "fine_time", fine, ("fine_time",), "1", "time")
        put(file, "output", limit_output(), shape, "1", "output")
        put(file, "output_error_draws", np.full((3, 6), error), shape, "1", "error")
        put(file, "output_error_nodes", np.zeros((3, 6)), shape, "1", "error")
        put(file, "output_fine", np.outer(fine / 2, PROFILE), ("fine_time", "probe"), "1", "output")
        put(file, "memory", MEMORY, ("probe",), "1", "memory")
        put(file, "memory_error_nodes", np.zeros(6), ("probe",), "1", "error")
        put(file, "loss", np.exp(-fine) + 0.1, ("fine_time",), "1", "loss")
        put(file, "loss_floor", 0.1, (), "1", "floor")


def write_draw(study: Study, layout: Layout, lost: bool = False) -> None:
    """Memories that approach one another by independent factors, chains by the exact one (or that meet at once)."""
    rng = np.random.default_rng(5)
    slopes = -CONTRACTION + 0.3 * rng.normal(size=(4, 32, 20))
    memory = np.concatenate([np.zeros((4, 32, 1)), slopes.cumsum(-1)], axis=-1) + np.log(0.4)
    radius = 0.7  # of [[.6, .2], [.1, .5]]
    chain = np.log(radius) * np.arange(1, 21) + 0.2 * rng.normal(size=(4, 32, 1))
    if lost:
        chain[rng.random((4, 32)) < 0.5, 2:] = np.nan
    with store.atomic_h5(layout.draw, "draw", {"draw_id": plan.draw_id(study)}) as file:
        put = store.put
        put(file, "hidden_update", np.arange(21), ("hidden_update",), "1", "updates")
        put(file, "log_slope", slopes.mean(-1), ("block", "coupling"), "1", "mean log slope")
        put(file, "memory_log_distance", memory, ("block", "coupling", "hidden_update"), "1", "log distance")
        put(file, "chain_step", np.arange(1, 21), ("chain_step",), "1", "steps")
        put(file, "chain_log_distance", chain, ("block", "coupling", "chain_step"), "1", "log distance")
        put(file, "mixing_rate", radius, (), "1", "factor per step")
