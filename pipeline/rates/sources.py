"""The files behind a point of a rate, and behind a row, so that a reader can open them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from rnnlimits.elman import plan as rntk_plan
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.quantities import base as quantities
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import RntkStudy, Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Cell, Twin

COORDINATES = ("beta", "eps", "N", "K")
DIGITS = "0123456789"
NUMBER = f"{DIGITS}."
SAME = 1e-9  # relative distance of a richness from its inverse's inverse


def of_trainings(study: Study, layout: Layout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    """The files of a study of trainings from which the point of `rate` at `values` was estimated."""
    sources = quantities.behind(rate)
    if "draw" in sources:
        return [layout.draw]
    if "poisson" in sources:
        return [layout.poisson]
    return _ensembles(study, layout, rate, values)


def _ensembles(study: Study, layout: Layout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    fixed, sources = rate.where, quantities.behind(rate)
    point = {key: float(value) for key, value in fixed.items() if key in COORDINATES and value != "infinity"}
    # The varying coordinates take precedence: a constant measured at one K also has that K among its fixed coordinates.
    point |= {key: value for key, value in values.items() if key in ("N", "K")}
    if "K" not in point and "N" in point:
        point["K"] = point["N"]  # along the diagonal
    depths = None if "depths" in sources or "depth" not in fixed else {int(fixed["depth"])}
    found = [
        cell
        for cell in plan.cells(study)
        if _of_cell(cell).items() >= point.items() and (depths is None or cell.depth in depths)
    ]
    cells = [layout.ensemble(cell) for cell in found]
    twins = [layout.twin(twin) for twin in plan.twins(study) if _follows(twin, point)]
    rich = [layout.rich(plan.rich_twin(study, cell)) for cell in found] if study.rich.follow else []
    tangents = [layout.tangents(plan.tangent_twin(study, cell)) for cell in found] if "tangents" in sources else []
    if "1/eps" in values:
        ladder = (twin for twin in plan.rich_ladder(study) if abs(twin.richness * values["1/eps"] - 1) < SAME)
        return [layout.rich(twin) for twin in ladder]
    twins, rich = twins * ("twin" in sources), rich * ("rich" in sources)
    return cells * bool({"train", "depths"} & {*sources}) + twins + rich + tangents


def _of_cell(cell: Cell) -> dict[str, float]:
    """A cell's coordinates as a row has them, beta or eps with the digits of `at`."""
    return {cell.axis.name: float(f"{cell.axis.value:g}"), "N": cell.width, "K": cell.steps_per_time}


def _follows(twin: Twin, coordinates: Mapping[str, float]) -> bool:
    return coordinates.get("K") == twin.steps_per_time


class FilesOfRows:
    """The files of a study of trainings behind rows: those of the points, and those that predict them."""

    def __init__(self, study: Study, layout: Layout) -> None:
        self._study, self._layout = study, layout
        self._cells, self._twins = plan.cells(study), plan.twins(study)
        self._known: dict[object, str] = {}

    def __call__(self, rate: Rate) -> str:
        """The files behind a row as one text, see `braced`; empty for a row without points."""
        values = tuple(dict.fromkeys(point.variable for point in rate.cloud))
        is_predicted = any(point.predicted == point.predicted for point in rate.cloud)
        key = quantities.behind(rate), rate.variable, rate.at, values, is_predicted, quantities.view_of(rate)
        if key not in self._known:
            files = dict.fromkeys(self._files(rate, values, is_predicted))
            self._known[key] = braced([path.relative_to(self._layout.root).as_posix() for path in files])
        return self._known[key]

    def _files(self, rate: Rate, values: Sequence[float], is_predicted: bool) -> Iterator[Path]:
        behind, study, layout = {*quantities.behind(rate)}, self._study, self._layout
        if not values:
            return
        cells = self._along(rate, values)
        if behind & {"train", "depths"}:
            yield from map(layout.ensemble, cells)
        if "twin" in behind or rate.variable == "1/eps":
            steps = self._steps(rate, values, cells)
            yield from (layout.twin(twin) for twin in self._twins if twin.steps_per_time in steps)
        if rate.variable == "1/eps":
            yield from map(layout.rich, plan.rich_ladder(study))
        if study.rich.follow and (is_predicted or "rich" in behind):
            yield from (layout.rich(plan.rich_twin(study, cell)) for cell in cells)
        if study.rich.follow and study.rich.tangents and (is_predicted or "tangents" in behind):
            yield from (layout.tangents(plan.tangent_twin(study, cell)) for cell in cells)
        yield from (path for name, path in (("draw", layout.draw), ("poisson", layout.poisson)) if name in behind)
        if behind & {"train", "depths", "twin"}:
            yield layout.poisson if rate.law == "ratio" else layout.limit

    def _steps(self, rate: Rate, values: Sequence[float], cells: Sequence[Cell]) -> set[float]:
        """The K of the twins behind a row."""
        if rate.variable == "K":
            return {*values}
        return {rate.K} if rate.variable == "1/eps" else {cell.steps_per_time for cell in cells}

    def _along(self, rate: Rate, values: Sequence[float]) -> list[Cell]:
        """The cells of a row's ladder, at every depth if they are compared."""
        fixed = {key: float(value) for key, value in rate.where.items() if key in COORDINATES}
        depth = None if "depths" in quantities.behind(rate) else rate.where.get("depth")
        here = [cell for cell in self._cells if _of_cell(cell).items() >= fixed.items()]
        here = [cell for cell in here if depth is None or cell.depth == int(depth)]
        if quantities.view_of(rate) == "surface":
            return here
        if rate.variable not in ("N", "K"):
            return []
        along = [cell for cell in here if _of_cell(cell)[rate.variable] in values]
        return [cell for cell in along if rate.variable == "K" or cell.width == cell.steps_per_time]


def braced(names: Sequence[str]) -> str:
    """Paths as a shell with braces reads them, one word for each folder: twin/K{00064,00128}.h5 limit.h5."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.partition("/")[0], []).append(name)
    return " ".join(map(_word, folders.values()))


def _word(names: Sequence[str]) -> str:
    """Paths that share their ends as one word; numbers are not cut."""
    if len(names) == 1:
        return names[0]
    first = _common(names).rstrip(NUMBER)
    last = _common([name[len(first) :][::-1] for name in names])[::-1].lstrip(DIGITS)
    middle = (name[len(first) : len(name) - len(last)] for name in names)
    return f"{first}{{{','.join(middle)}}}{last}"


def _common(names: Sequence[str]) -> str:
    """The beginning that all names share."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same)


def of_networks(study: RntkStudy, layout: RntkLayout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    """The files of a study of the recurrent NTK from which the point of `rate` at `values` was estimated."""
    names = [named.name for named in study.elmans if named.at == rate.at]
    sources = quantities.behind(rate)
    kinds = {"descent"} if "start" in sources else {*sources}
    cells = [cell for cell in rntk_plan.cells(study) if cell.kind in kinds and cell.network in names]
    if "start" in sources:  # from the outputs of the widest networks at their start
        return [layout.kernels, *(layout.networks(cell) for cell in sorted(cells, key=lambda cell: cell.width)[-1:])]
    return [layout.networks(cell) for cell in cells if cell.width == values.get("n")]
