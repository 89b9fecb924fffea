"""Estimators beside the twin, on made-up trainings whose every part is known, and the rows that twins alone give."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import runs
from processors import host

from rnnlimits import study as studies
from rnnlimits.quantities.base import Absent, entry_of, in_order, registered
from rnnlimits.quantities.loss import first_below
from rnnlimits.quantities.outputs import variance_ratios
from rnnlimits.quantities.trained import Design, TrainedQuantity, Trainings
from rnnlimits.quantities.twins import TwinQuantity
from rnnlimits.rates.reader import Reader
from rnnlimits.rates.trained import twin_rates
from rnnlimits.statistics.bootstrap import Array, Bootstrap
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

UNITS, PROBES, BINS = 4000, 16, 8
TIME = np.linspace(0.1, 1.5, BINS)
RNG = np.random.default_rng(4)


def made_up(odd: float, even: float, noise: float, bias: float, loss: Array | None = None) -> Trainings:
    """Pairs: +-odd field, an even fluctuation, data noise that the twin shares, and a bias that it does not."""
    shape = (UNITS, 1, PROBES)
    field, fluctuation, shared = (scale * RNG.normal(size=shape) for scale in (odd, even, noise))
    output = np.concatenate([field, -field], axis=1) + fluctuation + shared + bias
    twin_loss = np.broadcast_to(np.exp(-TIME), (UNITS, BINS))
    losses = np.broadcast_to(twin_loss if loss is None else loss, (UNITS, BINS))
    both = np.stack([losses, losses], axis=1)
    memory = np.zeros((UNITS, 2, PROBES))
    return Trainings(output, memory, np.ones((UNITS, 2)), True, 0.0, 0.0, 0.0, both, TIME, shared[:, 0], twin_loss)


def estimate(name: str, estimator: str, trainings: Trainings) -> float:
    entry = entry_of(name, estimator)
    assert isinstance(entry, TrainedQuantity)
    sample = entry.sample(trainings)
    mean = sample.statistics.mean(0)
    return float(sample.combine(mean, np.array(1 / len(sample)))) ** sample.power


def test_parts_come_back() -> None:
    """Relative errors of a s.d. over 64,000 numbers are .3%, of the bias by even/(bias sqrt(4000)) 3%: 4 s.e."""
    trainings = made_up(odd=0.5, even=0.1, noise=0.3, bias=0.05)
    assert estimate("output_even_in_n", "twin", trainings) == pytest.approx(0.1, rel=0.015)
    assert estimate("output_bias", "twin", trainings) == pytest.approx(0.05, rel=0.03)
    assert estimate("output_in_n", "twin", trainings) == pytest.approx(np.sqrt(0.25 + 0.01 + 0.0025), rel=0.015)
    assert estimate("sgd_noise", "pair-mean", trainings) == pytest.approx(np.sqrt(0.1), rel=0.015)


def test_variance_ratios_are_told() -> None:
    """Two lone ones: (.25 + .01 + .09)/2; a pair .1, beside its twin .01. Ratios of variances of 64,000 numbers."""
    told = [float(number) for number in re.findall(r"1/([0-9.]+)", variance_ratios(made_up(0.5, 0.1, 0.3, 0.05)))]
    assert told == pytest.approx([1.75, 10.0], rel=0.04)


def test_a_twin_that_is_the_training_leaves_nothing() -> None:
    trainings = made_up(0.0, 0.0, 0.3, 0.0)
    assert estimate("output_in_n", "twin", trainings) == 0.0
    assert estimate("loss_excess", "twin", trainings) == 0.0
    assert estimate("time_to_learn", "twin", trainings) == 0.0


def test_loss_and_delay_of_known_curves() -> None:
    """A loss that is the twin's, seen .2 later, is delayed by .2 and in excess by the difference of exponentials."""
    trainings = made_up(0.0, 0.0, 0.3, 0.0, loss=np.exp(-(TIME - 0.2)))
    fine = 0.02  # both curves are read by linear interpolation between bins .2 apart
    assert estimate("time_to_learn", "twin", trainings) == pytest.approx(0.2, abs=fine)
    late = TIME[6:]
    assert estimate("loss_excess", "twin", trainings) == pytest.approx((np.exp(-(late - 0.2)) - np.exp(-late)).mean())


def test_first_crossing() -> None:
    time = np.arange(4.0)
    curves = np.array([[4.0, 2.0, 1.0, 0.0], [4.0, 2.0, 1.0, 0.0], [4.0, 2.0, 1.0, 0.5]])
    np.testing.assert_array_equal(first_below(time, curves, np.array([3.0, 5.0, 0.1])), [0.5, 0.0, 3.0])


def test_which_estimators_exist() -> None:
    def present(**design: bool) -> set[tuple[str, str]]:
        applies = ((entry.key, entry.applies(Design(**design))) for entry in registered(TrainedQuantity))
        return {key for key, answer in applies if not isinstance(answer, Absent)}

    with_twins = present(symmetric=True, antithetic=True, twins=True)
    without = present(symmetric=True, antithetic=True)
    assert {key for key in with_twins - without if key[1] == "twin"} == with_twins - without
    assert ("output_even_bias", "twin") not in with_twins
    assert ("output_even_bias", "twin") in present(symmetric=False, antithetic=True, twins=True)


@pytest.mark.needs_compiler
def test_twins_alone_show_the_square_root_law(tmp_path: Path) -> None:
    """64 paths at each of five K; .5 within twice the half-width of the 95% interval, 4 s.e.: 1e-4 false alarms."""
    ladder = {"steps_per_time": [64, 128, 256, 512, 1024], "paths": 64}
    path = runs.write_study(tmp_path, twin=ladder, draws={"blocks": 4, "chains": 64, "steps": 200})
    for stage in ("draw", "train", "twin", "limit"):
        runs.run(stage, path, "--results", tmp_path / "results")
    study = studies.load(path)
    bootstrap = Bootstrap(lambda units, count: host.uniforms(1, 9, units.astype(np.uint32), count))
    read = Reader(study, Layout.of(study, tmp_path / "results"))
    found = {rate.quantity: rate for rate in twin_rates(read, bootstrap)}
    assert set(found) == {entry.name for entry in registered(TwinQuantity)}
    noise = found["sgd_noise"]
    assert noise.points == len(plan.twins(study)) == 5
    half = 0.5 * (noise.ci_high - noise.ci_low)
    assert half < 0.12
    assert abs(noise.exponent - 0.5) < 2 * half
    assert noise.at == "N=infinity"


def test_rates_of_one_quantity_stand_together() -> None:
    names = ["sgd_noise", "mixing", "sgd_noise", "output_rms", "mixing"]
    found = in_order([Rate("s", name, str(i), "N", "") for i, name in enumerate(names)])
    assert [rate.quantity for rate in found] == ["output_rms", "sgd_noise", "sgd_noise", "mixing", "mixing"]
    assert [rate.estimator for rate in found] == ["3", "0", "2", "1", "4"]
