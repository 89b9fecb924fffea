"""The output's rms error over N and K: both exponents from one grid of cells, two rows of rates.csv for each surface.

Source: docs/theory/surface.md; the fit is that of statistics/surface.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.quantities.base import K, N, register
from rnnlimits.quantities.outputs import OUTPUT_RMS
from rnnlimits.quantities.trained import CONSTANT, Design, Trainings, of_half, rms_order, square_root_order
from rnnlimits.quantities.whole import Results, StudyQuantity
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.powerlaw import Point
from rnnlimits.statistics.ratefile import Rate, RatePoint, refusal
from rnnlimits.statistics.surface import Exponent, Node, Surface, SurfaceRefused, fit

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.plan import Cell


def rates(
    study: Study, cells: Sequence[Cell], read: Callable[[Cell], Trainings], bootstrap: Bootstrap
) -> Iterator[Rate]:
    """The rows of every surface of a study: two for each axis and depth, the exponents of the N part and of the K part.

    Cells on a diagonal K = N, with or without a ladder in K at one width, give no rows. A grid that is too small gives
    refused rows, with the points. In the two rows of a surface point j is the same cell. At a fixed richness the error
    does not tend to 0, and the rows say so.
    """
    for at, members in grids(cells):
        rows = _blank_rows(study, at)
        if members[0].axis.fixes_richness:
            yield from (replace(row, note=refusal(CONSTANT)) for row in rows)
            continue
        trainings = [read(cell) for cell in members]
        points = [_point(*both, bootstrap) for both in zip(members, trainings, strict=True)]
        nodes = [Node(cell.width, cell.steps_per_time, point) for cell, point in zip(members, points, strict=True)]
        design = Design(symmetric=trainings[0].symmetric, antithetic=trainings[0].antithetic)
        expected = rms_order(members[0].beta, design), square_root_order(members[0].beta, design)
        yield from judged_rows(rows, nodes, expected, of_half(design).remark)


def grids(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    """Groups of cells of one axis and depth where K differs from N at two widths or more, with their coordinates."""
    tell_depth = len({cell.depth for cell in cells}) > 1
    for depth, axis in sorted({(cell.depth, cell.axis) for cell in cells}):
        members = [cell for cell in cells if (cell.depth, cell.axis) == (depth, axis)]
        if len({cell.width for cell in members if cell.steps_per_time != cell.width}) > 1:
            yield " ".join([str(axis)] + [f"depth={depth}"] * tell_depth), members


def _blank_rows(study: Study, at: str) -> tuple[Rate, Rate]:
    row = replace(OUTPUT_SURFACE.row(study.name, at), expected_kind="heuristic")
    return replace(row, variable=N.name), replace(row, variable=K.name)


def _point(cell: Cell, trainings: Trainings, bootstrap: Bootstrap) -> Point:
    """The rms error of one cell, blurred by the limit's own error, or left out if that error spoils it."""
    point = powerlaw.measure(cell.width, OUTPUT_RMS.sample(trainings), bootstrap)
    return powerlaw.held_against(point, OUTPUT_RMS.slack(trainings), OUTPUT_RMS.leverage(trainings), bootstrap)


def judged_rows(
    rows: tuple[Rate, Rate], nodes: Sequence[Node], expected: tuple[float, float], remark: str = ""
) -> Iterator[Rate]:
    """Fit the surface and fill in its two rows, or give the reason why it cannot be fitted.

    expected: the exponents at infinity. Nothing predicts the surface at finite N and K, so it is not judged by them.
    """
    surface, refused = _fit_or_reason(nodes)
    for index, (row, value) in enumerate(zip(rows, expected, strict=True)):
        filled = replace(row, expected=value, cloud=_cloud(nodes, row.variable))
        if surface is None:
            yield replace(filled, note="; ".join(filter(None, (refused, remark))))
            continue
        exponent = (surface.n, surface.k)[index]
        note = "; ".join(filter(None, (refused, *surface.notes, remark)))
        yield replace(_with_fit(filled, exponent, surface, index), note=note)


def _fit_or_reason(nodes: Sequence[Node]) -> tuple[Surface | None, str]:
    """The surface, if a fit exists, and the reason why it makes no claim, or ""."""
    try:
        return fit(nodes), ""
    except SurfaceRefused as short:
        return short.estimate, refusal(str(short))


def _with_fit(row: Rate, exponent: Exponent, surface: Surface, index: int) -> Rate:
    """The row with a fit's numbers; without an exponent if nothing bounds it (the note says so)."""
    if not np.isfinite(exponent.half_width):
        return row
    used = [node.point for node in surface.nodes if not node.point.reason]
    return replace(
        row,
        exponent=exponent.value,
        stderr=exponent.stderr,
        ci_low=exponent.low,
        ci_high=exponent.high,
        prefactor=surface.prefactors[index],
        points=len(used),
        replicas=min(point.replicas for point in used),
        line_p=surface.chi2_p,
    )


def _cloud(nodes: Sequence[Node], variable: str) -> tuple[RatePoint, ...]:
    """All nodes as points, in one order for both rows."""
    return tuple(
        RatePoint(
            float(node.width if variable == "N" else node.steps_per_time),
            node.point.estimate,
            node.point.stderr,
            not node.point.reason,
            node.point.replicas,
        )
        for node in nodes
    )


def _of_results(results: Results, bootstrap: Bootstrap) -> Iterator[Rate]:
    return rates(results.study, results.cells, results, bootstrap)


OUTPUT_SURFACE = register(
    StudyQuantity(
        name="output_surface",
        estimator="joint",
        variable=N,
        title="Output error against the limit, N and K separately",
        ordinate="estimate",
        view="surface",
        when="end",
        rates=_of_results,
    )
)
