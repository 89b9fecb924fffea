"""What every entry of the registry of quantities must do; a new entry is taken up by these tests without a line here.

Estimators see made-up data of a known exponent. Statistical checks allow 4 standard errors at a fixed seed: a false
alarm has a chance of about 1e-4 for each of some fifty entries.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from runs import ROOT

from rnnlimits.quantities import base
from rnnlimits.quantities.base import Applies, NoLaw, Quantity, Refused, register, registered
from rnnlimits.quantities.contraction import Contraction
from rnnlimits.quantities.elman import ElmanQuantity
from rnnlimits.quantities.rich import RichQuantity
from rnnlimits.quantities.surface import OUTPUT_SURFACE
from rnnlimits.quantities.trained import Design, TrainedQuantity, Trainings
from rnnlimits.quantities.twins import TwinQuantity
from rnnlimits.rates.contraction import contraction_rate
from rnnlimits.statistics import powerlaw, surface
from rnnlimits.statistics.bootstrap import Bootstrap, Sample
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.samples import bias, rms
from rnnlimits.statistics.verdicts import Expected
from rnnlimits.theory import observe

Array = NDArray[np.float64]
Sampling = Callable[[int, float], Sample]  # (seed, scale of all errors) -> the sample of one cell

UNITS, PROBES, BINS = 512, 6, 12
SIZES = (64, 128, 256, 512, 1024)
EXPONENT = 0.35
NOISY = ("output", "memory")  # what the units of a network explain the noise of
TABLE = np.random.default_rng(3).random((UNITS, 400))
BOOTSTRAP = Bootstrap(lambda units, count: np.asarray(TABLE[units % UNITS, :count]), 400)
DESIGNS = [
    Design(**dict(zip(Design.__annotations__, flags, strict=True)))
    for flags in itertools.product((0, 1), repeat=len(Design.__annotations__))
]
ENTRIES = list(registered(Quantity))


def named(entry: Quantity) -> str:
    return f"{entry.name}-{entry.estimator}"


def every(kind: type[base.AnyQuantity]) -> Any:
    return pytest.mark.parametrize("entry", list(registered(kind)), ids=named)


# --- made-up data ----------------------------------------------------------------------------------------------


def noisy(rng: np.random.Generator, *shape: int) -> Array:
    """A mean of 1 and a scatter of a half."""
    return 1.0 + 0.5 * rng.normal(size=shape)


def trainings(seed: int, scale: float) -> Trainings:
    """Pairs whose every error, and every difference from a twin or from depth 1, is proportional to `scale`."""
    rng = np.random.default_rng(seed)
    odd = scale * rng.normal(size=(UNITS, 1, PROBES))
    output = np.concatenate([odd, -odd], axis=1) + scale * noisy(rng, UNITS, 1, PROBES)
    time = (np.arange(BINS) + 0.5) / BINS
    twin_loss = np.broadcast_to(2.0 - time, (UNITS, BINS))  # a line, on which a delay is linear in the excess
    seen = {
        name: scale * noisy(rng, UNITS, 2, *[4] * len(dimensions))
        for name, (dimensions, _) in {**observe.MEMORY, **observe.KERNEL}.items()
    }
    return Trainings(
        output=output,
        memory=scale * noisy(rng, UNITS, 2, PROBES),
        drift=scale * noisy(rng, UNITS, 2),
        drift_rms=scale * noisy(rng, UNITS, 2),
        drift_b=scale * noisy(rng, UNITS, 2),
        symmetric=True,
        output_slack=0.0,
        memory_slack=0.0,
        node_slack=0.0,
        loss=twin_loss[:, None] + scale * noisy(rng, UNITS, 2, 1),
        loss_time=time,
        twin=0.3 * scale * rng.normal(size=(UNITS, PROBES)),
        twin_loss=twin_loss,
        initial=seen,
        final=seen,
        shallow=0.3 * scale * rng.normal(size=(UNITS, 2, PROBES)),
        rich=0.3 * scale * rng.normal(size=(UNITS, 1, PROBES)),
        unit_noise={name: 0.3 * scale * rng.normal(size=(UNITS, 2, PROBES)) for name in NOISY},
    )


def networks(seed: int, scale: float) -> dict[str, Array]:
    """Errors of Elman networks (unit, member, pair or sequence)."""
    rng = np.random.default_rng(seed)
    return {name: scale * noisy(rng, UNITS, 1, PROBES) for name in ("ntk", "nngp", "network", "linearised", "limit")}


def sampling(entry: Quantity) -> Sampling:
    """The entry's estimator on made-up data of its kind."""
    if isinstance(entry, TrainedQuantity):
        return lambda seed, scale: entry.sample(trainings(seed, scale))
    if isinstance(entry, TwinQuantity | RichQuantity):
        return lambda seed, scale: entry.sample(trainings(seed, scale).memory[:, 0])
    assert isinstance(entry, ElmanQuantity)
    return lambda seed, scale: entry.sample(networks(seed, scale))


ESTIMATORS = [
    entry for entry in ENTRIES if isinstance(entry, TrainedQuantity | TwinQuantity | RichQuantity | ElmanQuantity)
]  # others have rows of their own, tested below or with their module


# --- numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ESTIMATORS, ids=named)
def test_a_known_exponent_comes_back(entry: Quantity) -> None:
    """Other noise at every size, so that the errors are as many independent ones."""
    sample = sampling(entry)
    law = [0.1 * (size / SIZES[0]) ** -EXPONENT for size in SIZES]
    points = [
        powerlaw.measure(size, sample(seed, scale), BOOTSTRAP)
        for seed, (size, scale) in enumerate(zip(SIZES, law, strict=True))
    ]
    slope = powerlaw.fit(points).slope
    # Sharing units, the points' bootstrap counts their errors as common; they are not: the spread of a fit of five
    # independent points is that of each over the spread of log size.
    log_size = np.log(SIZES)
    error = max(float(np.std(point.log_replicates)) for point in points) / float(
        np.std(log_size) * math.sqrt(len(SIZES))
    )
    assert abs(slope.value - EXPONENT) < 4 * error
    assert error < 0.1


@pytest.mark.parametrize("entry", ESTIMATORS, ids=named)
def test_data_in_other_units_have_the_same_exponent(entry: Quantity) -> None:
    """The estimate is proportional to the errors; a factor in all of them is one in the prefactor and nothing else."""
    sample = sampling(entry)
    one, other = (
        [powerlaw.measure(size, sample(0, factor * size**-EXPONENT), BOOTSTRAP) for size in SIZES]
        for factor in (0.1, 0.3)
    )
    for point, larger in zip(one, other, strict=True):
        assert larger.estimate == pytest.approx(3 * point.estimate, rel=1e-8)
    fits = powerlaw.fit(one), powerlaw.fit(other)
    for fit in fits:
        assert fit.slope.value == pytest.approx(EXPONENT, abs=1e-6)
    assert fits[1].prefactor == pytest.approx(3 * fits[0].prefactor, rel=1e-6)


@pytest.mark.parametrize("name", ["output_bias", "memory_bias"])
def test_a_bias_below_its_noise_is_seen_once_the_noise_of_the_units_is_subtracted(name: str) -> None:
    """Of a skewed law from the first member alone; elsewhere from both, whose biases have one sign."""
    entry = next(one for one in ENTRIES if one.key == (name, "less unit noise"))
    rng = np.random.default_rng(4)
    noise, left = (size * rng.normal(size=(UNITS, 2, PROBES)) for size in (10.0, 0.01))
    cell = trainings(0, 1.0)
    assert cell.twin is not None
    error = 0.1 + np.array([0.0, 0.1])[:, None] + noise + left
    made_up = {"output": error + cell.twin[:, None], "memory": error, "unit_noise": dict.fromkeys(NOISY, noise)}
    for symmetric, wanted in ((True, 0.15), (False, 0.1)):
        one = replace(cell, **made_up, symmetric=symmetric)
        assert powerlaw.measure(1, entry.sample(one), BOOTSTRAP).estimate == pytest.approx(wanted, rel=0.02)
        lone = powerlaw.measure(1, bias(one.memory[:, 0]), BOOTSTRAP)
        assert lone.significance < 2


@every(Contraction)
@pytest.mark.parametrize("factor", [1.0, 1e-2])
def test_a_known_contraction_comes_back_from_any_starting_distance(entry: Contraction, factor: float) -> None:
    steps = np.random.default_rng(8).normal(-0.6, 0.3, size=(UNITS, 24))
    rate = contraction_rate(
        entry.row("made-up", ""),
        np.arange(1.0, 25.0),
        steps.cumsum(1) + math.log(factor),
        Expected(0.6, "exact"),
        BOOTSTRAP,
    )
    assert (rate.law, rate.quantity, rate.variable) == ("geometric", entry.name, entry.variable.name)
    assert abs(rate.exponent - 0.6) < 4 * rate.stderr
    assert rate.stderr < 0.01


def fitted_surface(factor: float) -> surface.Surface:
    """error^2 = factor^2 (N^-0.5 + 4/K) on a grid, each cell with noise of its own."""
    nodes = []
    for seed, (n, k) in enumerate(itertools.product(SIZES, SIZES)):
        error = factor * math.sqrt((n**-0.5 + 4.0 / k) / 1.25) * noisy(np.random.default_rng(seed), UNITS, 1, PROBES)
        nodes.append(surface.Node(n, k, powerlaw.measure(n, rms(error), BOOTSTRAP)))
    return surface.fit(nodes)


def test_a_known_surface_comes_back_in_any_units() -> None:
    fit, other = fitted_surface(1.0), fitted_surface(5.0)
    assert abs(fit.n.value - 0.25) < 4 * fit.n.stderr
    assert abs(fit.k.value - 0.5) < 4 * fit.k.stderr
    assert (other.n.value, other.k.value) == (
        pytest.approx(fit.n.value, rel=1e-4),
        pytest.approx(fit.k.value, rel=1e-4),
    )
    assert other.prefactors == pytest.approx([5 * one for one in fit.prefactors], rel=1e-3)
    assert OUTPUT_SURFACE.view == "surface"


# --- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES, ids=named)
def test_readers_are_told_what_they_see(entry: Quantity) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", entry.name)
    assert entry.estimator
    assert entry.title[:1].isupper()
    assert not entry.title.endswith(".")
    assert entry.ordinate
    assert entry.units
    assert base.VARIABLES[entry.variable.name] is entry.variable
    assert entry.sources
    row = entry.row("study", "beta=0.75")
    assert (row.quantity, row.estimator, row.variable, row.law) == (*entry.key, entry.variable.name, entry.law)
    assert base.about(row).name == entry.name
    assert base.behind(row) == entry.sources
    assert base.variable_of(row) is entry.variable


@pytest.mark.parametrize("entry", ENTRIES, ids=named)
def test_every_quantity_stands_in_the_theory_and_in_the_list(entry: Quantity) -> None:
    of_elman = entry.variable in (base.ELMAN_WIDTH, base.DESCENT_STEPS)
    page = "rntk.md" if of_elman else "model.md"
    assert f"`{entry.name}`" in (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert f"`{entry.name}`" in (ROOT / "docs" / "quantities.md").read_text(encoding="utf-8")


def expected_of(entry: TrainedQuantity) -> Iterator[float]:
    return (entry.expected(beta, design) for beta in (0.55, 0.75, 0.95) for design in DESIGNS)


@every(TrainedQuantity)
def test_the_kind_of_expectation_is_said_where_there_is_one(entry: TrainedQuantity) -> None:
    assert entry.expected_kind in ("theorem", "heuristic", "exact", "")
    assert all(math.isnan(value) == (entry.expected_kind == "") for value in expected_of(entry))
    assert all(not value < 0 and not value > 1 for value in expected_of(entry))


@every(TrainedQuantity)
def test_some_design_has_the_quantity_and_a_refusal_says_what_to_do(entry: TrainedQuantity) -> None:
    answers = [entry.applies(design) for design in DESIGNS]
    assert any(isinstance(answer, Applies | NoLaw) for answer in answers)
    for answer in answers:
        if isinstance(answer, Refused | NoLaw):
            remedy = answer.why.rpartition("; ")[2]
            assert re.match(r"(set|see) [a-z_.]+", remedy), answer.why
            key = remedy.split()[1].rstrip(":")
            assert key.partition(".")[0] in ("network", "training") or key in {one.name for one in ENTRIES}


# --- the registry ----------------------------------------------------------------------------------------------


def test_a_key_is_registered_once() -> None:
    with pytest.raises(ValueError, match=r"output_rms \(plain\) is registered already"):
        register(replace(ENTRIES[0]))


def test_a_quantity_of_ones_own_is_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_entries", dict(base._entries))
    own = register(
        TrainedQuantity(
            name="own",
            estimator="plain",
            variable=base.N,
            title="My own",
            ordinate="mine",
            sample=lambda t: rms(t.output),
            expected=lambda beta, design: 0.5,
        )
    )
    assert list(registered(TrainedQuantity))[-1] is own
    assert base.about(own.row("s", "")).title == "My own"
    assert [rate.quantity for rate in base.in_order([own.row("s", ""), ENTRIES[0].row("s", "")])] == [
        "output_rms",
        "own",
    ]


def test_a_row_of_an_unknown_quantity_is_shown_by_its_name() -> None:
    row = Rate("s", "foreign", "plain", "M", "", law="ratio")
    assert (base.about(row).title, base.about(row).ordinate, base.view_of(row)) == ("foreign", "ratio", "ratio")
    assert base.behind(row) == ()
    assert base.variable_of(row).axis == "M"
