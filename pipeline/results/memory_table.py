"""Convergence of the memory in hidden updates and hidden units, as one two-way table of untrained networks.

Source: docs/theory/memory_and_kernel.md, section 1.
"""

from __future__ import annotations

import csv
import io

import numpy as np

from rnnlimits.chains import paths as chains
from rnnlimits.files import durable
from rnnlimits.kernels.interface import Array, Backend, Training
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.observe import Settling, memory_law_distances, settling_table
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

NETWORKS = 64  # networks of each width
MOST_VALUES = 1 << 26  # weights of all networks of one width
UPDATES = (0, 1, 2, 4, 8, 16, 32)
COLUMNS = ("width", "updates", "distance", "stderr", "study_id")


def run(study: Study, layout: Layout, be: Backend) -> str:
    """Compute the table, write memory.csv, return the table as text. `be` has NumPy arrays.

    Rows: hidden updates since a start from 0; columns: widths; entries: root mean square distance from the stationary
    limit memory. The last row is the Wasserstein-1 distance of the stationary laws, a mean over networks.
    """
    widths = sorted({cell.width for cell in plan.cells(study) if cell.width * NETWORKS <= MOST_VALUES})
    updates = [k for k in UPDATES if k < study.probes.length // 2]
    settling = settling_table(study, be, widths, updates, NETWORKS)
    laws = {width: law_distance(study, be, width) for width in widths}
    _write(layout, study.identity, settling, laws)
    return text(settling, laws)


def law_distance(study: Study, be: Backend, width: int) -> tuple[float, float]:
    """Mean Wasserstein-1 distance of stationary memory laws, N against infinity, and its standard error."""
    law, history = ParameterLaw.of(study), chains.probe_histories(study, be)
    limit = law.memory_path(be, history, np.zeros(len(history)))[:, :-1]
    trainer = be.trainer(Training(width, study.dimension, 0.75, 1, study.activation), NETWORKS)
    trainer.fill_from(0, *law.draw(be, study.seed, np.arange(NETWORKS, dtype=np.uint32), width))
    distances: Array = memory_law_distances(limit, trainer.probe(history)[1])
    return float(distances.mean()), float(distances.std(ddof=1) / np.sqrt(NETWORKS))


def text(rows: list[Settling], laws: dict[int, tuple[float, float]]) -> str:
    """The table for a terminal."""
    by_cell = {(row.updates, row.width): row.distance for row in rows}
    lines = [["updates", *(f"N={width}" for width in laws)]]
    lines += [[str(k), *(f"{by_cell[k, width]:.3g}" for width in laws)] for k in sorted({row.updates for row in rows})]
    lines.append(["W1 of laws", *(f"{value:.3g}" for value, _ in laws.values())])
    sizes = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(size) for cell, size in zip(line, sizes, strict=True)) for line in lines)


def _write(layout: Layout, study_id: str, settling: list[Settling], laws: dict[int, tuple[float, float]]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((row.width, row.updates, f"{row.distance:.6g}", f"{row.error:.6g}", study_id) for row in settling)
    writer.writerows((width, "law", f"{value:.6g}", f"{error:.6g}", study_id) for width, (value, error) in laws.items())
    durable.require_folder(layout.memory_csv)
    durable.write_bytes(layout.memory_csv, stream.getvalue().encode())
