"""What defines a quantity: name, estimator, variable, titles, the files behind its points; and the registry.

A module of this package builds its entries and passes each to `register`. The facts in an entry are written nowhere
else: tables, figures, the report and the documentation look them up by the name in a row of rates.csv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import ExpectedKind

Law = Literal["power", "geometric", "ratio"]
View = Literal["power", "geometric", "ratio", "surface"]
When = Literal["start", "end", ""]
"""When in training a quantity is looked at: at time 0, at the end of training (or up to there), or at no such time."""
Source = Literal["train", "depths", "twin", "rich", "tangents", "draw", "poisson", "kernel", "descent", "start"]
"""Files behind a point: the ensembles of its cell, or of its cell at every depth; the twins of its K; the rich
twins of its cell; draw.h5; poisson.h5; kernels or descents of Elman networks of its width; kernels.h5 and the start of
the widest descent."""


# --- variables -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Variable:
    """The variable that goes to infinity along a series of points.

    name: as in rates.csv. words: as in tables. axis: label of the abscissa, in TeX. law, law_text: how a power law, or
    a geometric law, in this variable is written, in TeX and as plain text.
    """

    name: str
    words: str
    axis: str
    law: str
    law_text: str


GEOMETRIC = {"law": "e^{-pk}", "law_text": "e⁻ᵖᵏ"}
N = Variable(name="N", words="N", axis="width $N$  ($K = N$)", law="N^{-p}", law_text="N⁻ᵖ")
K = Variable(name="K", words="K", axis="steps per unit of time $K$", law="K^{-p}", law_text="K⁻ᵖ")
HIDDEN_UPDATES = Variable(name="hidden_updates", words="hidden updates", axis="hidden updates $k$", **GEOMETRIC)
CHAIN_STEPS = Variable(name="chain_steps", words="chain steps", axis="chain steps $k$", **GEOMETRIC)
RICHNESS = Variable(
    name="1/eps",
    words="1/eps",
    axis=r"inverse of the richness $1/\varepsilon$",
    law=r"\varepsilon^{p}",
    law_text="epsᵖ",
)
DRAWS = Variable(name="draws", words="draws", axis="values in the average", law="n^{-p}", law_text="n⁻ᵖ")
ELMAN_WIDTH = Variable(name="n", words="n", axis="width $n$", law="n^{-p}", law_text="n⁻ᵖ")
DESCENT_STEPS = Variable(name="steps", words="steps", axis="steps of gradient descent", law="K^{-p}", law_text="K⁻ᵖ")
VARIABLES = {one.name: one for one in (N, K, RICHNESS, HIDDEN_UPDATES, CHAIN_STEPS, DRAWS, ELMAN_WIDTH, DESCENT_STEPS)}


# --- whether a study has a quantity ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Applies:
    """The estimator exists and its rate is judged; remark: what readers of the number must always know, or ""."""

    remark: str = ""


@dataclass(frozen=True)
class Refused:
    """The estimator would be wrong in this design: its row has no points and gives the reason."""

    why: str


@dataclass(frozen=True)
class NoLaw:
    """The estimates are right but follow no law that could be judged: its row has points and gives the reason."""

    why: str
    remark: str = ""


@dataclass(frozen=True)
class Absent:
    """The design does not have this estimator: no row is written."""


Availability = Applies | Refused | NoLaw | Absent


# --- entries ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity with one of its estimators.

    name, estimator: together the key. variable: what goes to infinity. title, ordinate, units: those of its figure.
    expected_kind: whether the expected value is a theorem, exact or heuristic, or "" if there is no such value.
    sources: the files behind a point. law: "power", "geometric", or "ratio" (of a measured to a predicted constant).
    view: how it is drawn, if not as its law implies. when: see `When`. beside: keys of entries that say nearly the same
    from the same units and paths: tables fold rows of this one under those of the first of them that a study has.
    Estimators of one name share the figure of the first registered.
    """

    name: str
    estimator: str
    variable: Variable
    title: str
    ordinate: str = "root mean square over probes"
    units: str = "1"
    expected_kind: ExpectedKind = "heuristic"
    sources: tuple[Source, ...] = ("train",)
    law: Law = "power"
    view: View | None = None
    when: When = ""
    beside: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Name and estimator, which identify the entry."""
        return self.name, self.estimator

    def row(self, study: str, at: str) -> Rate:
        """The row of rates.csv of a study at these fixed coordinates, still without numbers."""
        return Rate(study, self.name, self.estimator, self.variable.name, at, law=self.law)


# --- the registry ----------------------------------------------------------------------------------------------

AnyQuantity = TypeVar("AnyQuantity", bound=Quantity)
_entries: dict[tuple[str, str], Quantity] = {}


def register(entry: AnyQuantity) -> AnyQuantity:
    """Add an entry to the registry and return it.

    Raises ValueError for what is not a Quantity, and if its name and estimator are taken.
    """
    if not isinstance(entry, Quantity):
        raise ValueError(f"{entry!r} is not a Quantity; give one, such as a rnnlimits.quantities.TrainedQuantity")
    if entry.key in _entries:
        raise ValueError(f"quantity {entry.name} ({entry.estimator}) is registered already; give yours another name")
    _entries[entry.key] = entry
    return entry


def registered_by(run: Callable[[], object]) -> list[Quantity]:
    """The entries that `run` registers; the registry is then as it was before."""
    before = dict(_entries)
    try:
        run()
        return [entry for key, entry in _entries.items() if key not in before]
    finally:
        _restore(before)


@contextmanager
def extended(entries: Iterable[Quantity]) -> Iterator[None]:
    """The registry with further entries until the end of the block. Raises ValueError as `register` does."""
    before = dict(_entries)
    try:
        for entry in entries:
            register(entry)
        yield
    finally:
        _restore(before)


def _restore(entries: Mapping[tuple[str, str], Quantity]) -> None:
    _entries.clear()
    _entries.update(entries)


def registered(kind: type[AnyQuantity]) -> Iterator[AnyQuantity]:
    """The entries of a kind, in the order of their registration: that of the rows of rates.csv."""
    return (entry for entry in tuple(_entries.values()) if isinstance(entry, kind))


def entry_of(name: str, estimator: str) -> Quantity:
    """The entry with this key. Raises KeyError if no entry has it."""
    return _entries[name, estimator]


def about(rate: Rate) -> Quantity:
    """The entry that describes the quantity of a row: the first of its name, or one made from the row itself."""
    named = next((entry for entry in _entries.values() if entry.name == rate.quantity), None)
    return named or _foreign(rate)


def title_of(rate: Rate) -> str:
    """The title of a row's own entry, that of its estimator."""
    entry = _entries.get((rate.quantity, rate.estimator))
    return entry.title if entry else about(rate).title


def view_of(rate: Rate) -> View:
    """How the rows of a quantity are drawn."""
    entry = about(rate)
    return entry.view or entry.law


def when_of(rate: Rate) -> When:
    """When in training a row's networks are looked at; "" for a row whose quantity is not registered."""
    entry = _entries.get((rate.quantity, rate.estimator))
    return entry.when if entry else ""


def folded(rates: Sequence[Rate]) -> list[bool]:
    """For each row, whether another one says nearly the same from the same units and paths (`Quantity.beside`)."""
    there = {(rate.quantity, rate.estimator, rate.at) for rate in rates}
    entries = (_entries.get((rate.quantity, rate.estimator)) for rate in rates)
    beside = (entry.beside if entry else () for entry in entries)
    return [any((*key, rate.at) in there for key in keys) for rate, keys in zip(rates, beside, strict=True)]


def behind(rate: Rate) -> tuple[Source, ...]:
    """The files behind a point of a row; empty for a row whose quantity is not registered."""
    entry = _entries.get((rate.quantity, rate.estimator))
    return entry.sources if entry else ()


def variable_of(rate: Rate) -> Variable:
    """The variable of a row, which may differ from that of the entry (a surface has a row in N and one in K)."""
    name = rate.variable
    return VARIABLES.get(name) or Variable(name=name, words=name, axis=name, **GEOMETRIC)


def in_order(rates: list[Rate]) -> list[Rate]:
    """The rows grouped by quantity, in the order of the registry."""
    places = {name: place for place, name in enumerate(dict.fromkeys(entry.name for entry in _entries.values()))}
    return sorted(rates, key=lambda rate: places.get(rate.quantity, len(places)))


def _foreign(rate: Rate) -> Quantity:
    """A stand-in for a quantity that is not registered: from a file of another version, or from a plug-in."""
    ordinate = "ratio" if rate.law == "ratio" else "estimate"
    return Quantity(
        name=rate.quantity,
        estimator=rate.estimator,
        variable=variable_of(rate),
        title=rate.quantity,
        ordinate=ordinate,
        law=rate.law if rate.law in ("power", "geometric", "ratio") else "power",  # type: ignore[arg-type]
    )
